import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.convolution import conv


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_initial_values_are_bounded_by_what_the_kernel_sees(kernel_size):
    layer = conv(50, kernel_size, 4, "uniform")
    layer.build((None, None, None, 4))
    bound = (4 * kernel_size**2) ** -0.5
    for values in map(ops.convert_to_numpy, layer.weights):
        assert 0.9 * bound < np.abs(values).max() <= bound


def test_borders_see_zeros_and_the_size_stays():
    layer = conv(1, 3, 1, "uniform", use_bias=False)
    layer.build((None, None, None, 1))
    layer.kernel.assign(np.ones((3, 3, 1, 1)))
    counts = ops.convert_to_numpy(layer(np.ones((1, 3, 4, 1), np.float32)))[0, ..., 0]
    np.testing.assert_array_equal(counts, [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])
