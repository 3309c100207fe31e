from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.native import native_forms
from keras_rdanet.layers.pyramid_attention import PUBLISHED, PyramidAttention
from keras_rdanet.layers.resampling import BilinearUpsampling, PixelShuffle
from keras_rdanet.layers.wavelet import InverseHaarTransform

# Layer -> its channels, and what it becomes.
LAYERS = {
    "dilated": (lambda: conv(5, 3, 4, "uniform", dilation_rate=3), 4, "Conv2D"),
    "shuffle by 2": (lambda: PixelShuffle(2), 8, "DepthToSpace"),
    "shuffle by 3": (lambda: PixelShuffle(3), 18, "DepthToSpace"),
    "bilinear": (BilinearUpsampling, 3, "ResizeBilinear"),
    "inverse Haar": (InverseHaarTransform, 8, "DepthToSpace"),
    # Scores of some rows of queries at a time, 14 at most.
    "attention": (
        lambda: PyramidAttention(4, 2, 1, "size_ratio", **PUBLISHED, score_memory=2**13),
        4,
        "Softmax",
    ),
}
FIXED, FREE = (2, 7, 10), (None, None, None)


@pytest.fixture(scope="module", params=LAYERS)
def layer(request):
    """A layer with random weights, images for it, and the operation that it becomes."""
    make, channels, operation = LAYERS[request.param]
    made = make()
    made.build((None, None, None, channels))
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=w.shape) * 0.5 for w in made.weights])
    return made, rng.normal(size=(*FIXED, channels)).astype("f4"), operation


def traced(layer, shape, native):
    with native_forms() if native else nullcontext():
        function = tf.function(layer, autograph=False)
        return function.get_concrete_function(tf.TensorSpec(shape, layer.compute_dtype))


def kinds(function):
    return [operation.type for operation in function.graph.get_operations()]


@pytest.mark.parametrize("size", [FIXED, FREE], ids=["fixed", "free"])
def test_native_forms_give_what_the_usual_ones_give(layer, size):
    layer, images, operation = layer
    native = traced(layer, (*size, images.shape[-1]), native=True)
    expected = layer(images).numpy()
    found = native(tf.constant(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.ptp(expected))
    assert found.dtype == images.dtype
    assert native.outputs[0].shape.is_compatible_with(expected.shape)
    assert operation in kinds(native)


def test_native_forms_of_fixed_size_have_four_axes_and_no_loop(layer):
    layer, images, _ = layer
    native = traced(layer, images.shape, native=True)
    tensors = [t for operation in native.graph.get_operations() for t in operation.outputs]
    assert max(len(tensor.shape) for tensor in tensors) <= 4
    assert not {"While", "StatelessWhile", "SpaceToBatchND"} & set(kinds(native))


def test_half_precision_stays_what_it_is():
    images = tf.ones((1, 3, 5, 4), tf.bfloat16)
    for layer in (BilinearUpsampling(dtype="bfloat16"), PixelShuffle(2, dtype="bfloat16")):
        assert traced(layer, images.shape, native=True)(images).dtype == tf.bfloat16


def test_many_queries_stay_in_a_loop():
    attention = PyramidAttention(4, 2, 1, "size_ratio", **PUBLISHED, score_memory=1)
    attention.build((None, None, None, 4))
    assert "StatelessWhile" in kinds(traced(attention, (1, 7, 10, 4), native=True))


def test_native_forms_end_with_their_scope():
    layer = conv(5, 3, 4, "uniform", dilation_rate=2)
    layer.build((None, None, None, 4))
    assert "SpaceToBatchND" not in kinds(traced(layer, (*FREE, 4), native=True))
    assert "SpaceToBatchND" in kinds(traced(layer, (*FREE, 4), native=False))
