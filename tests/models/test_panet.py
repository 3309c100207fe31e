import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.pyramid_attention import PUBLISHED
from keras_rdanet.models import PAEDSR, PANet
from keras_rdanet.weights.from_torch import from_torch
from tests.models.checks import NetworkChecks, image, restore, silence


def panet(**options):
    return PANet(**{**PANet.SMALL, **options})


def pa_edsr(**options):
    return PAEDSR(**{**PAEDSR.SMALL, **options})


ODD_ATTENTION = {
    "levels": [1.0, 0.7],
    "ksize": 5,
    "stride": 2,
    "softmax_scale": 4,
    "average": False,
    "resize_mode": "size_ratio",
}


class TestPANet(NetworkChecks):
    network = PANet
    parameters = {"panet_gray": 5_954_949, "panet_rgb": 5_957_255}
    unlike = {"filters": 5, "num_blocks": 2, "shared_prelu": False, **ODD_ATTENTION}
    traits = {"channels": 1, "support": "nonlocal", "scale": 1, "multiple": 1, "min_size": 2}
    inner = "attention"
    refused = [
        ({"channels": 4}, "`channels` must be 1"),
        ({"num_blocks": 3}, "`num_blocks` must be even"),
        ({"resize_mode": "cubic"}, "`resize_mode` must be one of"),
        ({"levels": [2.0]}, "`levels` must be fractions"),
    ]


class TestPAEDSR(NetworkChecks):
    network = PAEDSR
    parameters = {
        "pa_edsr_x2": 40_811_846,
        "pa_edsr_x3": 43_762_246,
        "pa_edsr_x4": 43_172_166,
    }
    unlike = {"filters": 9, "scale": 3, "rgb_range": 255, **ODD_ATTENTION}
    traits = {"channels": 3, "support": "nonlocal", "scale": 2, "multiple": 1, "min_size": 2}
    inner = "attention"
    refused = [
        ({"scale": 5}, "`scale` must be 2, 3 or 4"),
        ({"num_blocks": 0}, "`num_blocks` must be even"),
        ({"levels": []}, "`levels` must be fractions"),
    ]


def test_parameter_count_of_other_sizes():
    assert panet(filters=64, num_blocks=16, channels=3).count_params() == 1_230_471
    assert panet(filters=16, num_blocks=4, channels=3).count_params() == 22_311


def test_one_slope_serves_all_residual_blocks():
    shared, own = panet(num_blocks=4), panet(num_blocks=4, shared_prelu=False)
    slopes = [[w for w in model.weights if w.path.endswith("alpha")] for model in (shared, own)]
    assert [len(s) for s in slopes] == [4, 7]
    assert all(w.shape == (1, 1, 1) and float(ops.sum(w)) == 0.25 for w in slopes[0])
    x = image(4, 5)
    before = restore(shared, x)
    shared.get_layer("body_prelu").set_weights([np.full((1, 1, 1), -1)])
    assert np.abs(restore(shared, x) - before).max() > 1e-4


def test_no_image_is_added():
    model = panet()
    silence(model, "tail")
    assert not restore(model, image(5, 4)).any()


def test_long_skip_carries_the_head_past_the_body():
    model = panet()
    silence(model, "body_conv")
    x = image(5, 4)
    head, tail = model.get_layer("head"), model.get_layer("tail")
    np.testing.assert_allclose(restore(model, x), restore(tail, head(x)), atol=1e-6)


def test_super_resolution_without_a_head_is_the_mean_colour():
    model = pa_edsr()
    silence(model, "head", "body_conv", "up0", "tail")
    restored = restore(model, image(3, 4, 3))
    np.testing.assert_array_equal(
        restored, np.broadcast_to(np.float32([0.4488, 0.4371, 0.4040]), (1, 6, 8, 3))
    )


def test_attention_of_super_resolution_scales_its_input():
    layer = pa_edsr(filters=8).get_layer("attention")
    layer.value.set_weights([np.zeros((1, 1, 8, 8)), np.zeros(8)])
    x = image(4, 4, 8)
    np.testing.assert_allclose(restore(layer, x), 0.1 * x, rtol=1e-6)


def test_rgb_range_is_that_of_the_network_not_of_the_images():
    levels, unit = pa_edsr(rgb_range=255), pa_edsr()
    unit.set_weights(levels.get_weights())
    head, tail = unit.get_layer("head"), unit.get_layer("tail")
    head.kernel.assign(255 * head.kernel)
    for weight in tail.weights:
        weight.assign(weight / 255)
    x = image(5, 6, 3)
    np.testing.assert_allclose(restore(levels, x), restore(unit, x), atol=1e-5)


@pytest.mark.parametrize("build", [panet, pa_edsr])
def test_options_reach_the_attention(build):
    options = {**ODD_ATTENTION, "levels": [1.0, 0.4]}
    model = build(**options)
    assert options.items() <= model.get_layer("attention").get_config().items()
    assert model.image_function().min_size == 3
    x = image(3, 4, model.channels)
    assert restore(model, x).shape == (1, 3 * model.scale, 4 * model.scale, model.channels)


@pytest.mark.parametrize("build", [panet, pa_edsr])
def test_files_of_the_first_release_have_the_options_of_the_paper(build):
    model = build()
    config = model.get_config()
    missing = {*PUBLISHED, "rgb_range"}
    old = {name: value for name, value in config.items() if name not in missing}
    assert type(model).from_config(old).get_config() == config


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_super_resolution_enlarges(scale):
    model = pa_edsr(scale=scale)
    assert restore(model, image(5, 3, 3)).shape == (1, 5 * scale, 3 * scale, 3)
    function = model.image_function()
    assert (function.scale, function.channels, function.support) == (scale, 3, "nonlocal")


def test_resize_mode_matters_where_sizes_are_cut():
    model, other = panet(), panet(resize_mode="size_ratio")
    other.set_weights(model.get_weights())
    assert np.abs(restore(model, image(8, 9)) - restore(other, image(8, 9))).max() > 1e-7
    np.testing.assert_allclose(
        restore(model, image(10, 10)), restore(other, image(10, 10)), atol=1e-6
    )


def test_a_checkpoint_of_the_original_code_loads():
    shape = {"conv_match_L_base": (4, 8), "conv_match": (4, 8), "conv_assembly": (8, 8)}
    rng = np.random.default_rng(0)
    mean = np.float32([0.4488, 0.4371, 0.4040])
    tensors = {
        "sub_mean.weight": np.eye(3, dtype="f4").reshape(3, 3, 1, 1),
        "sub_mean.bias": -mean,
        "add_mean.weight": np.eye(3, dtype="f4").reshape(3, 3, 1, 1),
        "add_mean.bias": mean,
        "body.1.escape_NaN": np.float32([1e-4]),
        "msa.escape_NaN": np.float32([1e-4]),
    }
    for name, (outputs, inputs) in shape.items():
        weights = {
            "0.weight": rng.normal(size=(outputs, inputs, 1, 1)),
            "0.bias": rng.normal(size=outputs),
            "1.weight": rng.normal(size=1),
        }
        for prefix in ("body.1", "msa"):
            tensors |= {f"{prefix}.{name}.{k}": v for k, v in weights.items()}
    for name, (outputs, inputs) in {
        "head.0": (8, 3),
        "body.0.body.0": (8, 8),
        "body.0.body.2": (8, 8),
        "body.2.body.0": (8, 8),
        "body.2.body.2": (8, 8),
        "body.3": (8, 8),
        "tail.0.0": (32, 8),
        "tail.0.2": (32, 8),
        "tail.1": (3, 8),
    }.items():
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs, 3, 3))
        tensors[f"{name}.bias"] = rng.normal(size=outputs)
    model = pa_edsr(filters=8, scale=4, reduction=2)
    assert len(from_torch(model, tensors).loaded) == len(model.weights) == 27
    kernel = ops.convert_to_numpy(model.get_layer("up1").kernel)
    np.testing.assert_allclose(kernel[0, 2], tensors["tail.0.2.weight"][:, :, 0, 2].T, rtol=1e-6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.get_layer("attention").key.kernel)[0, 0],
        tensors["msa.conv_match.0.weight"][..., 0, 0].T,
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"sub_mean\.bias must be"):
        from_torch(model, tensors | {"sub_mean.bias": mean})
    other = pa_edsr(filters=8, scale=4, reduction=2, rgb_range=255)
    with pytest.raises(ValueError, match=r"sub_mean\.bias must be \[-114"):
        from_torch(other, tensors)
    in_levels = {"sub_mean.bias": -255 * mean, "add_mean.bias": 255 * mean}
    assert len(from_torch(other, tensors | in_levels).loaded) == 27


@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
def test_training_lowers_the_loss_where_xla_is_asked_for():
    model = panet(num_blocks=2)
    model.compile(keras.optimizers.Adam(1e-3), "mae", jit_compile=True)
    x = image(9, 9)
    before = model.get_weights()
    losses = [float(model.train_on_batch(x, x)) for _ in range(3)]
    assert losses[2] < losses[0]
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
