import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import MPRNet, registry
from keras_rdanet.models.mprnet import Fold
from keras_rdanet.profiling import multiply_accumulates
from keras_rdanet.weights.from_torch import from_torch
from tests.models.checks import ResidualChecks, image, outputs
from tests.models.reference import bilinear_double, convolution, weights_of

STAGES = ["stage1", "stage2", "stage3"]


def small(channels=3, **options):
    return MPRNet(**{**MPRNet.SMALL, "channels": channels, **options})


class TestMPRNet(ResidualChecks):
    network = MPRNet
    parameters = {}  # with the multiply-accumulates, below
    unlike = {
        "channels": 1,
        "filters": 6,
        "num_blocks": 2,
        "kernel_size": 5,
        "reduction": 3,
        "use_bias": True,
    }
    traits = {"channels": 3, "support": "global_pool", "scale": 1, "multiple": 8, "min_size": 8}
    learning = {"use_bias": True}
    inner = "concat12"
    silent = ("sam12_conv2", "sam23_conv2", "tail")
    refused = [
        ({"channels": 4}, "`channels` must be 1"),
        ({"filters": 3}, "`filters` must be at least `reduction`, 4"),
        ({"kernel_size": 2}, "`kernel_size` must be odd"),
        ({"initialization": "zeros"}, '"orthogonal" or "uniform"'),
    ]


def lively(channels=3, **options):
    """A network whose gates and slope differ from those at the start of a training."""
    keras.utils.set_random_seed(0)
    model = small(channels, **options)
    model.set_weights([1.5 * weight for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    """For tests that leave it as it is."""
    return lively()


@pytest.mark.parametrize(
    ("preset", "parameters", "billions"),
    [
        ("mprnet_denoise", 15_741_025, 572.89),
        ("mprnet_deblur", 20_127_073, 759.41),
        ("mprnet_derain", 3_637_249, 140.98),
    ],
)
def test_published_parameters_and_multiply_accumulates(preset, parameters, billions):
    model = registry.build(preset)
    assert model.count_params() == parameters
    # Where the original enlarges before a 1x1 convolution, ours computes a quarter of it.
    c1, c2, c3 = (model.filters + level * model.unet_growth for level in range(3))
    saved = 0.75 * 256**2 * (6 * c2 * c1 + 4 * c3 * c2 / 4)
    assert round((multiply_accumulates(model, 256, 256) + saved) / 1e9, 2) == billions


def test_biases_are_missing_where_the_original_has_none():
    model = small(use_bias=True, num_blocks=2)
    paths = {variable.path for variable in model.weights}
    without = {path for path in paths if path.replace("kernel", "bias") not in paths}
    changes_of_size = {
        *(f"stage{s}_encoder_down{levels}" for s in (1, 2) for levels in (12, 23)),
        *(f"stage{s}_decoder_up{levels}" for s in (1, 2) for levels in (32, 21)),
        *(f"stage3_orsnet_up_{side}{up}" for side in ("enc", "dec") for up in ("1", "2_0", "2_1")),
    }
    tails = {f"stage3_orsnet_orb{i}_tail" for i in (1, 2, 3)}
    assert without == {f"{n}/kernel" for n in changes_of_size | tails}


class Reference:
    """The network as its paper and code write it, patch by patch, in float64."""

    def __init__(self, model):
        self.weights = weights_of(model)
        self.num_blocks = model.num_blocks

    def conv(self, x, name):
        bias = self.weights.get(f"{name}/bias", 0.0)
        return convolution(x, self.weights[f"{name}/kernel"], bias)

    def cab(self, x, name):
        y = self.conv(x, f"{name}_conv1")
        y = np.where(y > 0, y, self.weights["prelu/alpha"].item() * y)
        y = self.conv(y, f"{name}_conv2")
        gate = y.mean((0, 1), keepdims=True)
        gate = np.maximum(self.conv(gate, f"{name}_attention/squeeze"), 0)
        gate = self.conv(gate, f"{name}_attention/excite")
        return y / (1 + np.exp(-gate)) + x

    def two(self, x, name):
        return self.cab(self.cab(x, f"{name}_cab0"), f"{name}_cab1")

    def shallow(self, x, i):
        return self.cab(self.conv(x, f"shallow_feat{i}_0"), f"shallow_feat{i}_1_cab")

    def down(self, x, name):
        x = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
        return self.conv(x, name)

    def up(self, x, name):
        return self.conv(bilinear_double(x), name)

    def encoder(self, x, name, previous=None):
        levels = []
        for i in (1, 2, 3):
            x = self.two(
                x if i == 1 else self.down(x, f"{name}_down{i - 1}{i}"), f"{name}_level{i}"
            )
            for side in previous or ():
                x = x + self.conv(previous[side][i - 1], f"{name}_csff_{side}{i}")
            levels.append(x)
        return levels

    def decoder(self, levels, name):
        d3 = self.two(levels[2], f"{name}_level3")
        skip = self.cab(levels[1], f"{name}_skip_attn2_cab")
        d2 = self.two(self.up(d3, f"{name}_up32") + skip, f"{name}_level2")
        skip = self.cab(levels[0], f"{name}_skip_attn1_cab")
        return [self.two(self.up(d2, f"{name}_up21") + skip, f"{name}_level1"), d2, d3]

    def sam(self, x, image, name):
        image = self.conv(x, f"{name}_conv2") + image
        gate = 1 / (1 + np.exp(-self.conv(image, f"{name}_conv3")))
        return self.conv(x, f"{name}_conv1") * gate + x, image

    def orsnet(self, x, levels):
        name = "stage3_orsnet"
        for i in (1, 2, 3):
            y = x
            for block in range(self.num_blocks):
                y = self.cab(y, f"{name}_orb{i}_cab{block}")
            x = self.conv(y, f"{name}_orb{i}_tail") + x
            for side, features in levels.items():
                y = features[i - 1]
                if i == 2:
                    y = self.up(y, f"{name}_up_{side}1")
                if i == 3:
                    y = self.up(self.up(y, f"{name}_up_{side}2_0"), f"{name}_up_{side}2_1")
                x = x + self.conv(y, f"{name}_conv_{side}{i}")
        return x

    def __call__(self, image):
        def join(parts, axis):
            return [np.concatenate(level, axis) for level in zip(*parts, strict=True)]

        halves, fused, images = np.split(image, 2, 0), [], []
        for half in halves:
            quarters = [self.shallow(quarter, 1) for quarter in np.split(half, 2, 1)]
            enc = join([self.encoder(quarter, "stage1_encoder") for quarter in quarters], 1)
            dec = self.decoder(enc, "stage1_decoder")
            features, restored = self.sam(dec[0], half, "sam12")
            images.append(restored)
            z = np.concatenate([self.shallow(half, 2), features], -1)
            previous = {"enc": enc, "dec": dec}
            fused.append(self.encoder(self.conv(z, "concat12"), "stage2_encoder", previous))
        levels = {"enc": join(fused, 0)}
        levels["dec"] = self.decoder(levels["enc"], "stage2_decoder")
        features, stage2 = self.sam(levels["dec"][0], image, "sam23")
        z = np.concatenate([self.shallow(image, 3), features], -1)
        z = self.orsnet(self.conv(z, "concat23"), levels)
        return [np.concatenate(images, 0), stage2, self.conv(z, "tail") + image]


@pytest.mark.parametrize(
    ("channels", "options"),
    [(3, {}), (1, {"use_bias": True, "num_blocks": 2}), (1, {"kernel_size": 5, "reduction": 2})],
)
def test_network_by_hand(channels, options):
    model = lively(channels, **options)
    x = image(8, 16, channels)
    expected = Reference(model)(x[0].astype(np.float64))
    given = outputs(model, x)
    assert list(given) == model.stages == STAGES
    for output, reference in zip(given.values(), expected, strict=True):
        assert np.ptp(reference - x[0]) > 0.1
        np.testing.assert_allclose(output[0], reference, atol=1e-5 * np.ptp(reference))


def test_first_stage_sees_half_of_the_image(model):
    x = image(16, 16, 3)
    changed = x.copy()
    changed[0, 8:] = 0
    before, after = outputs(model, x), outputs(model, changed)
    np.testing.assert_array_equal(after["stage1"][0, :8], before["stage1"][0, :8])
    assert (after["stage2"][0, 0] != before["stage2"][0, 0]).all()


def test_fold_makes_patches_and_puts_them_together():
    x = image(16, 24, channels=1, batch=2)
    quarters = Fold(2, 0)(Fold(1, 0)(x))
    patches = [x[:, :8, :12], x[:, 8:, :12], x[:, :8, 12:], x[:, 8:, 12:]]
    np.testing.assert_array_equal(ops.convert_to_numpy(quarters), np.concatenate(patches))
    np.testing.assert_array_equal(ops.convert_to_numpy(Fold(0, 1)(Fold(0, 2)(quarters))), x)


@pytest.mark.parametrize("size", [(12, 16), (16, 9)])
def test_other_sizes_are_refused_with_the_way_out(model, size):
    with pytest.raises(ValueError, match=r"multiples of 8, got (12|9); `Restorer` pads"):
        model(image(*size, 3))


def test_one_slope_serves_the_whole_network():
    model = small()
    (slope,) = (v for v in model.weights if "prelu" in v.path)
    assert ops.convert_to_numpy(slope).ravel() == [0.25]


def original_shapes(c1, c2, c3, m, num_blocks, bias):
    """Names and shapes of the original state dict, from its classes."""
    shapes = {}

    def conv(name, out, inside, size=1, bias=bias):
        shapes[f"{name}.weight"] = (out, inside, size, size)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def cab(name, c):
        conv(f"{name}.CA.conv_du.0", c // 4, c)
        conv(f"{name}.CA.conv_du.2", c, c // 4)
        conv(f"{name}.body.0", c, c, 3)
        shapes[f"{name}.body.1.weight"] = (1,)
        conv(f"{name}.body.2", c, c, 3)

    for i in (1, 2, 3):
        conv(f"shallow_feat{i}.0", c1, 3, 3)
        cab(f"shallow_feat{i}.1", c1)
    for stage in ("stage1", "stage2"):
        for level, c in enumerate((c1, c2, c3), 1):
            for i in (0, 1):
                cab(f"{stage}_encoder.encoder_level{level}.{i}", c)
                cab(f"{stage}_decoder.decoder_level{level}.{i}", c)
        cab(f"{stage}_decoder.skip_attn1", c1)
        cab(f"{stage}_decoder.skip_attn2", c2)
        for pair, low, high in (("12", c1, c2), ("23", c2, c3)):
            conv(f"{stage}_encoder.down{pair}.down.1", high, low, bias=False)
            conv(f"{stage}_decoder.up{pair[::-1]}.up.1", low, high, bias=False)
    for side in ("enc", "dec"):
        for level, c in enumerate((c1, c2, c3), 1):
            conv(f"stage2_encoder.csff_{side}{level}", c, c)
            conv(f"stage3_orsnet.conv_{side}{level}", m, c1)
        conv(f"stage3_orsnet.up_{side}1.up.1", c1, c2, bias=False)
        conv(f"stage3_orsnet.up_{side}2.0.up.1", c2, c3, bias=False)
        conv(f"stage3_orsnet.up_{side}2.1.up.1", c1, c2, bias=False)
    for orb in (1, 2, 3):
        for i in range(num_blocks):
            cab(f"stage3_orsnet.orb{orb}.body.{i}", m)
        conv(f"stage3_orsnet.orb{orb}.body.{num_blocks}", m, m, 3, bias=False)
    for name in ("sam12", "sam23"):
        conv(f"{name}.conv1", c1, c1)
        conv(f"{name}.conv2", 3, c1)
        conv(f"{name}.conv3", c1, 3)
    conv("concat12", c1, 2 * c1, 3)
    conv("concat23", m, 2 * c1, 3)
    conv("tail", 3, m, 3)
    return shapes


@pytest.mark.parametrize(
    ("num_blocks", "bias", "names", "variables"),
    [(8, False, 316, 262), (1, True, None, 338), (2, True, None, 362), (11, False, None, 298)],
)
def test_weights_of_the_original_find_their_places(num_blocks, bias, names, variables):
    shapes = original_shapes(4, 6, 8, 5, num_blocks, bias)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {name: np.float32([0.125]) for name, shape in shapes.items() if shape == (1,)}
    assert names in (None, len(tensors))
    model = small(filters=4, unet_growth=2, orsnet_growth=1, num_blocks=num_blocks, use_bias=bias)
    assert len(from_torch(model, tensors).loaded) == variables
    weights = weights_of(model)
    for ours, theirs in (
        ("shallow_feat2_1_cab_conv2", "shallow_feat2.1.body.2"),
        ("stage2_encoder_level3_cab1_conv1", "stage2_encoder.encoder_level3.1.body.0"),
        (
            "stage1_decoder_skip_attn2_cab_attention/excite",
            "stage1_decoder.skip_attn2.CA.conv_du.2",
        ),
        ("stage3_orsnet_orb2_cab0_attention/squeeze", "stage3_orsnet.orb2.body.0.CA.conv_du.0"),
        ("stage3_orsnet_orb3_tail", f"stage3_orsnet.orb3.body.{num_blocks}"),
        ("stage3_orsnet_up_dec2_1", "stage3_orsnet.up_dec2.1.up.1"),
    ):
        tensor = tensors[f"{theirs}.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(weights[f"{ours}/kernel"], tensor)
    assert weights["prelu/alpha"].item() == 0.125
