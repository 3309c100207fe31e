import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import RDN, registry
from keras_rdanet.profiling import multiply_accumulates
from keras_rdanet.weights.from_torch import from_torch
from tests.models.checks import NetworkChecks, ResidualChecks, image, restore
from tests.models.reference import convolution, pixel_shuffle, weights_of


def small(channels=1, **options):
    return RDN(**{**RDN.SMALL, "channels": channels, **options})


class TestRDN(ResidualChecks):
    network = RDN
    parameters = {
        "rdn_cifar": 114_883,
        "rdn_gray": 21_973_377,
        "rdn_rgb": 21_975_683,
        # Those of the public PyTorch networks for super-resolution.
        "rdn_rgb_x2": 22_123_395,
        "rdn_rgb_x3": 22_308_035,
        "rdn_rgb_x4": 22_271_107,
    }
    unlike = {"channels": 3, "kernel_size": 5, "scale": 4, "initialization": "orthogonal"}
    traits = {"channels": 1, "support": "local", "scale": 1, "multiple": 1, "min_size": 1}
    inner = "residual_dense_blocks_0"
    silent, silent_in = ("output",), {"predicts_noise": True}
    refused = [
        ({"channels": 4}, "`channels` must be 1"),
        ({"scale": 5}, "`scale` must be 1, 2, 3 or 4"),
        ({"scale": 2, "predicts_noise": True}, "`predicts_noise` needs `scale` 1"),
        ({"kernel_size": 4}, "`kernel_size` must be odd"),
        ({"initialization": "zeros"}, '"orthogonal" or "uniform"'),
    ]


class TestSuperResolution(NetworkChecks):
    network = RDN
    parameters = {}
    unlike = {"scale": 2, "num_layers": 1, "growth_rate": 5}
    traits = {"channels": 3, "support": "local", "scale": 3, "multiple": 1, "min_size": 1}
    inner = "upsampling_0"
    refused = []

    def small(self, **options):
        return small(**{"channels": 3, "scale": 3, "num_blocks": 1, **options})


def test_operations_of_the_cifar_network():
    model = RDN.from_preset("rdn_cifar")
    assert multiply_accumulates(model, 32, 32) == 114_528 * 32 * 32


def numpy_rdn(model, x):
    """The network as the paper writes it, in float64."""

    def convolve(features, path):
        kernel, bias = (weights[f"{path}/{name}"] for name in ("kernel", "bias"))
        return convolution(features, kernel, bias)

    weights = weights_of(model)
    shallow = convolve(x, "outer_shallow_features")
    block = convolve(shallow, "inner_shallow_features")
    blocks = []
    for d in range(model.num_blocks):
        features = [block]
        for c in range(model.num_layers):
            path = f"residual_dense_blocks_{d}/dense_layers_{c}"
            features.append(np.maximum(convolve(np.concatenate(features, -1), path), 0))
        path = f"residual_dense_blocks_{d}/local_feature_fusion"
        block = block + convolve(np.concatenate(features, -1), path)
        blocks.append(block)
    fused = convolve(np.concatenate(blocks, -1), "global_feature_fusion_0")
    x = convolve(fused, "global_feature_fusion_1") + shallow
    for i, factor in enumerate({1: [], 2: [2], 3: [3], 4: [2, 2]}[model.scale]):
        x = pixel_shuffle(convolve(x, f"upsampling_{i}"), factor)
    return convolve(x, "output")


@pytest.mark.parametrize(
    ("scale", "kernel_size", "channels"), [(1, 3, 3), (1, 5, 1), (2, 3, 1), (3, 1, 3), (4, 3, 1)]
)
def test_network_by_hand(scale, kernel_size, channels):
    model = small(channels, scale=scale, kernel_size=kernel_size)
    x = image(4, 5, channels)
    expected = numpy_rdn(model, x[0].astype(np.float64))
    assert expected.shape == (4 * scale, 5 * scale, channels)
    np.testing.assert_allclose(restore(model, x)[0], expected, atol=1e-5 * np.ptp(expected))


def test_predicted_noise_is_subtracted():
    noise, restored = small(3), small(3, predicts_noise=True)
    restored.set_weights(noise.get_weights())
    x = image(5, 6, 3) * 3 - 1  # not clipped either
    np.testing.assert_array_equal(restore(restored, x), x - restore(noise, x))


def test_the_family_has_a_gray_and_an_rgb_member():
    assert registry.FAMILIES["rdn"] == ("rdn_gray", "rdn_rgb")


def test_cifar_network_predicts_noise_and_those_of_the_paper_images():
    assert RDN.PRESETS["rdn_cifar"]["predicts_noise"]
    others = [options for name, options in RDN.PRESETS.items() if name != "rdn_cifar"]
    assert not any(options["predicts_noise"] for options in others)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_radius_is_how_far_an_impulse_reaches(scale, kernel_size):
    # Few filters: the contribution at the border must not be lost in rounding.
    model = small(filters=2, growth_rate=3, num_layers=2, scale=scale, kernel_size=kernel_size)
    model.set_weights([np.abs(weight) + 0.1 for weight in model.get_weights()])
    x = np.zeros((1, 1, 41, 1), np.float32)
    impulse = x.copy()
    impulse[0, 0, 20] = 1
    (columns,) = (restore(model, impulse) != restore(model, x))[0, 0, :, 0].nonzero()
    distances = 20 - columns[0] // scale, columns[-1] // scale - 20
    assert max(distances) == model.image_function().radius


def notebook_tensors(channels, width, num_blocks, num_layers):
    """Random tensors under the names and in the shapes of the original network."""
    shapes = {
        "outer_shallow_features": (width, channels, 3, 3),
        "inner_shallow_features": (width, width, 3, 3),
        "global_feature_fusion.0": (width, num_blocks * width, 1, 1),
        "global_feature_fusion.1": (width, width, 3, 3),
        "output": (channels, width, 3, 3),
    }
    for d in range(num_blocks):
        block = f"residual_dense_blocks.{d}"
        shapes[f"{block}.local_feature_fusion"] = (width, (num_layers + 1) * width, 1, 1)
        for c in range(num_layers):
            shapes[f"{block}.dense_layers.{c}.conv"] = (width, (c + 1) * width, 3, 3)
    rng = np.random.default_rng(0)
    weights = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": rng.normal(size=shapes[name][0]) for name in shapes}


def test_weights_of_the_notebook_find_their_places():
    tensors = notebook_tensors(channels=3, width=16, num_blocks=3, num_layers=5)
    model = RDN.from_preset("rdn_cifar")
    assert len(from_torch(model, tensors).loaded) == len(tensors) == 46
    layer = model.get_layer("residual_dense_blocks_2").dense_layers[4]
    tensor = tensors["residual_dense_blocks.2.dense_layers.4.conv.weight"].astype(np.float32)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel)[0, 2], tensor[:, :, 0, 2].T)


def test_weights_of_more_than_ten_blocks_are_not_mixed_up():
    tensors = notebook_tensors(channels=1, width=1, num_blocks=11, num_layers=2)
    model = small(filters=1, growth_rate=1, num_blocks=11, num_layers=2)
    from_torch(model, tensors)
    layer = model.get_layer("residual_dense_blocks_10").dense_layers[1]
    tensor = tensors["residual_dense_blocks.10.dense_layers.1.conv.bias"].astype(np.float32)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.bias), tensor)
