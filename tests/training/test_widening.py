import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import TSPRDANet
from keras_rdanet.training.widening import widen


def network(filters, channels=3, use_bias=True):
    return TSPRDANet(
        filters, channels, use_bias=use_bias, image_residual=True, initialization="uniform"
    )


def test_wide_network_computes_what_the_narrow_one_does():
    narrow, wide = network(8), network(16)
    widen(narrow, wide, seed=0)
    image = np.random.default_rng(0).random((1, 13, 10, 3), np.float32)
    for stage in narrow.stages:
        expected, result = (ops.convert_to_numpy(m(image)[stage]) for m in (narrow, wide))
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_copies_of_a_channel_read_different_weights():
    wide = network(16)
    widen(network(8), wide, seed=0)
    kernel = ops.convert_to_numpy(wide.get_layer("rdab").convs[1].kernel)
    assert not np.allclose(kernel[..., 0], kernel[..., 1])


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="other layers"):
        widen(network(8), network(16, use_bias=False), seed=0)
    with pytest.raises(ValueError, match="cannot be widened"):
        widen(network(16), network(24), seed=0)
    with pytest.raises(ValueError, match=r"images of 1 channels and .* of 3"):
        widen(network(8, channels=1), network(16), seed=0)
