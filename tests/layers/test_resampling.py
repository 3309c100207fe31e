import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.resampling import PixelShuffle


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
