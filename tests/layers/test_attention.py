import numpy as np
from keras import ops

from keras_rdanet.layers.attention import ChannelAttention, SpatialAttention


def features(height, width, channels):
    return np.random.default_rng(0).random((1, height, width, channels), np.float32)


def test_spatial_gate_is_at_least_a_half():
    # The ReLU before the sigmoid: whatever the kernel, the gate is in [0.5, 1).
    layer = SpatialAttention()
    layer.build((None, None, None, 3))
    layer.conv.kernel.assign(np.full((5, 5, 2, 1), -2.0))
    x = features(6, 6, 3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), x / 2)


def test_spatial_gate_reads_the_maximum_first_and_the_mean_second():
    layer = SpatialAttention()
    layer.build((None, None, None, 3))
    kernel = np.zeros((5, 5, 2, 1))
    kernel[2, 2] = [[10.0], [0.1]]
    layer.conv.kernel.assign(kernel)
    x = features(4, 5, 3)
    expected = 10 * x.max(-1, keepdims=True) + 0.1 * x.mean(-1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logit(x)), expected, rtol=1e-5)


def test_channel_gate_by_hand():
    layer = ChannelAttention(filters=8, reduction=8, use_bias=False)
    layer.build((None, None, None, 8))
    x = features(4, 5, 8)
    squeeze, excite = (ops.convert_to_numpy(w)[0, 0] for w in layer.weights)
    hidden = np.maximum(x.mean((1, 2)) @ squeeze, 0) @ excite
    expected = x / (1 + np.exp(-hidden))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-5)
