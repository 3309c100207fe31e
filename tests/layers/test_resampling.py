import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.resampling import BilinearUpsampling, PixelShuffle


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_puts_channels_where_pytorch_does(factor):
    x = np.random.default_rng(0).random((2, 3, 4, 5 * factor**2), np.float32)
    shuffled = ops.convert_to_numpy(PixelShuffle(factor)(x))
    expected = np.empty((2, 3 * factor, 4 * factor, 5), np.float32)
    for c in range(5):
        for i in range(factor):
            for j in range(factor):
                channel = c * factor**2 + i * factor + j
                expected[:, i::factor, j::factor, c] = x[..., channel]
    np.testing.assert_array_equal(shuffled, expected)


def test_pixel_shuffle_knows_its_output_shape():
    image = keras.Input((None, 7, 12))
    assert PixelShuffle(2)(image).shape == (None, None, 14, 3)


def test_bilinear_upsampling_clamps_at_the_edges():
    x = np.float32([[[[0.0], [4.0], [8.0]], [[8.0], [12.0], [16.0]]]])
    upsampled = ops.convert_to_numpy(BilinearUpsampling()(x))
    columns = np.array([0, 1, 3, 5, 7, 8])
    rows = np.array([0, 2, 6, 8])
    np.testing.assert_array_equal(upsampled[0, ..., 0], columns + rows[:, None])


def test_bilinear_upsampling_agrees_with_keras_and_knows_its_output_shape():
    x = np.random.default_rng(0).random((2, 5, 3, 4), np.float32)
    expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    upsampled = ops.convert_to_numpy(BilinearUpsampling()(x))
    np.testing.assert_allclose(upsampled, ops.convert_to_numpy(expected), atol=1e-6)
    assert BilinearUpsampling()(keras.Input((None, 7, 12))).shape == (None, None, 14, 12)
