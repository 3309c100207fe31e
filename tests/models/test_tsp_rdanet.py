import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import TSPRDANet, registry
from tests.models.checks import ResidualChecks, image


def small(channels=1, **options):
    return TSPRDANet(**{**TSPRDANet.SMALL, "channels": channels, **options})


class TestTSPRDANet(ResidualChecks):
    network = TSPRDANet
    parameters = {
        "tsp_rdanet_gray": 2_845_924,
        "tsp_rdanet_rgb": 2_848_228,
        "tsp_rdanet_tiny_gray": 178_180,
        "tsp_rdanet_tiny_rgb": 178_756,
    }
    unlike = {
        "filters": 9,
        "channels": 3,
        "use_bias": True,
        "image_residual": False,
        "initialization": "uniform",
    }
    traits = {"channels": 1, "support": "global_pool", "scale": 1, "multiple": 1, "min_size": 4}
    learning = {"use_bias": True}
    inner = "rdab"
    silent = ("conv_tail",)
    half = 0.01
    refused = [
        ({"channels": 4}, "`channels` must be 1"),
        ({"filters": 4}, "`filters` must be at least 8"),
        ({"initialization": "zeros"}, '"orthogonal" or "uniform"'),
    ]

    def test_outputs_are_the_two_stages(self):
        assert self.small().stages == ["stage1", "stage2"]


@pytest.mark.parametrize(
    ("filters", "channels", "parameters"), [(64, 3, 2_850_295), (16, 3, 179_275), (8, 1, 44_951)]
)
def test_biases_are_counted_as_in_the_original(filters, channels, parameters):
    model = small(channels, filters=filters, use_bias=True)
    assert model.count_params() == parameters


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


def test_precision_is_that_of_the_network_and_of_no_other():
    half = registry.build("tsp_rdanet_tiny_rgb", precision="bfloat16")
    assert half.get_layer("rdab").compute_dtype == "bfloat16"
    assert small().get_layer("rdab").compute_dtype == "float32"


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="tsp_rdanet_tiny_gray"):
        registry.build("tsp_rdanet_gigantic")
    with pytest.raises(ValueError, match="depth"):
        registry.build("tsp_rdanet_gray", depth=3)
    with pytest.raises(ValueError, match="bfloat16"):
        registry.build("tsp_rdanet_gray", precision="int8")
