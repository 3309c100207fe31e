from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.native import native_forms


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


def traced(layer, native):
    """The operations of a call of `layer`, and its result."""
    image = np.random.default_rng(0).random((2, 11, 14, 4), np.float32)
    call = tf.function(layer)
    with native_forms() if native else nullcontext():
        graph = call.get_concrete_function(tf.TensorSpec((None, None, None, 4)))
    return [op.type for op in graph.graph.get_operations()], graph(tf.constant(image)).numpy()


def test_native_dilation_is_one_operation_of_the_same_value():
    layer = conv(5, 3, 4, "uniform", dilation_rate=3)
    layer.build((None, None, None, 4))
    usual, expected = traced(layer, native=False)
    native, found = traced(layer, native=True)
    assert "SpaceToBatchND" in usual
    assert "SpaceToBatchND" not in native
    assert native.count("Conv2D") == 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_native_dilation_ends_with_its_scope():
    layer = conv(5, 3, 4, "uniform", dilation_rate=2)
    layer.build((None, None, None, 4))
    traced(layer, native=True)
    assert "SpaceToBatchND" in traced(layer, native=False)[0]
