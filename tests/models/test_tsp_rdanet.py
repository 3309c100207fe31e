import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import TSPRDANet, registry


def small(channels=1, **options):
    options = {"filters": 8, "use_bias": False, "image_residual": False, **options}
    return TSPRDANet(channels=channels, **options)


def image(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((1, height, width, channels), np.float32)


def restore(model, images):
    return ops.convert_to_numpy(model(images)["stage2"])


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("tsp_rdanet_gray", 2_845_924),
        ("tsp_rdanet_rgb", 2_848_228),
        ("tsp_rdanet_tiny_gray", 178_180),
        ("tsp_rdanet_tiny_rgb", 178_756),
    ],
)
def test_parameter_count_is_that_of_the_original(preset, parameters):
    assert TSPRDANet.from_preset(preset).count_params() == parameters


@pytest.mark.parametrize(
    ("filters", "channels", "parameters"), [(64, 3, 2_850_295), (16, 3, 179_275), (8, 1, 44_951)]
)
def test_biases_are_counted_as_in_the_original(filters, channels, parameters):
    model = small(channels, filters=filters, use_bias=True)
    assert model.count_params() == parameters


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 9), (13, 4), (16, 16)])
def test_any_size_from_four_keeps_its_size(size):
    model = small(3)
    outputs = model(image(*size, 3))
    assert list(outputs) == model.stages == ["stage1", "stage2"]
    assert all(tuple(output.shape) == (1, *size, 3) for output in outputs.values())


def test_silent_tail_with_image_residual_returns_the_input():
    model = small(image_residual=True)
    model.get_layer("conv_tail").kernel.assign(np.zeros((3, 3, 8, 1)))
    x = image(9, 6) * 3 - 1  # not clipped either
    np.testing.assert_array_equal(restore(model, x), x)


def test_missing_row_and_column_are_zeros_at_the_bottom_right():
    pad_to = small().get_layer("pad_to")
    padded = ops.convert_to_numpy(pad_to([image(4, 6, 2), image(5, 7)]))
    np.testing.assert_array_equal(padded[:, :4, :6], image(4, 6, 2))
    assert not padded[:, 4:].any()
    assert not padded[:, :, 6:].any()


def test_dilations_follow_the_paper():
    model = small()
    dilations = [conv.dilation_rate[0] for conv in model.get_layer("hdrdab").convs]
    assert dilations == [1, 2, 3, 4, 3, 2, 1, 1]
    assert {conv.dilation_rate for conv in model.get_layer("rdab").convs} == {(1, 1)}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_keeps_the_image_in_float32(precision):
    model = registry.build("tsp_rdanet_tiny_rgb", precision=precision)
    assert model.get_layer("rdab").compute_dtype == precision
    model.get_layer("conv_tail").kernel.assign(np.zeros((3, 3, 16, 3)))
    x = image(8, 8, 3)
    np.testing.assert_array_equal(restore(model, x), x)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_mixed_precision_is_finite_on_flat_pictures(precision, level):
    model = registry.build("tsp_rdanet_tiny_gray", precision=precision)
    assert np.isfinite(restore(model, np.full((1, 64, 64, 1), level, np.float32))).all()


def test_mixed_precision_stays_close_to_float32():
    x = image(24, 24, seed=1)
    whole = registry.build("tsp_rdanet_tiny_gray")
    half = registry.build("tsp_rdanet_tiny_gray", precision="bfloat16")
    half.set_weights(whole.get_weights())
    np.testing.assert_allclose(restore(half, x), restore(whole, x), atol=0.01)


def test_reloading_keeps_arguments_and_output(tmp_path):
    model = TSPRDANet(
        filters=9, channels=3, use_bias=True, image_residual=True, initialization="uniform"
    )
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert reloaded.get_config() == model.get_config()
    x = image(9, 11, 3)
    np.testing.assert_array_equal(restore(reloaded, x), restore(model, x))


def test_orthogonal_initialisation_has_gain_a_fifth():
    model = small(filters=16)
    kernel = ops.convert_to_numpy(model.get_layer("rdab").convs[2].kernel).reshape(-1, 16)
    np.testing.assert_allclose(kernel.T @ kernel, 0.04 * np.eye(16), atol=1e-6)
    first, second = (ops.convert_to_numpy(model.get_layer(n).kernel) for n in ("down", "up"))
    assert not np.allclose(first, second)


def test_uniform_initialisation_is_bounded_by_the_fan_in():
    conv = small(use_bias=True, initialization="uniform").get_layer("rdab").convs[1]
    bound = (2 * 8 * 9) ** -0.5
    for values in map(ops.convert_to_numpy, conv.weights):
        assert bound * 0.5 < np.abs(values).max() <= bound


def test_image_function_gives_the_last_stage():
    model = small(3)
    function = model.image_function()
    assert (function.channels, function.support, function.min_size) == (3, "global_pool", 4)
    x = image(8, 10, 3)
    np.testing.assert_allclose(function(x), restore(model, x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, "`channels` must be 1"),
        ({"filters": 4}, "`filters` must be at least 8"),
        ({"initialization": "zeros"}, '"orthogonal" or "uniform"'),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="tsp_rdanet_tiny_gray"):
        registry.build("tsp_rdanet_gigantic")
    with pytest.raises(ValueError, match="depth"):
        registry.build("tsp_rdanet_gray", depth=3)
    with pytest.raises(ValueError, match="bfloat16"):
        registry.build("tsp_rdanet_gray", precision="int8")
