import cv2
import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.bicubic import bicubic_matrix, bicubic_resize

SCALES = (0.9, 0.8, 0.7, 0.6)


def images(height, width, seed=0):
    return np.random.default_rng(seed).random((2, height, width, 3), np.float32)


@pytest.mark.parametrize("scale", SCALES)
def test_size_ratio_is_what_opencv_does_with_a_size(scale):
    x = images(23, 37)
    height, width = int(23 * scale), int(37 * scale)
    resized = ops.convert_to_numpy(bicubic_resize(x, scale, "size_ratio"))
    expected = [cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in x]
    np.testing.assert_allclose(resized, expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "size"), [(0.9, 36), (0.8, 34), (0.7, 22), (0.6, 29)])
def test_scale_factor_is_what_opencv_does_with_a_factor(scale, size):
    # OpenCV rounds the size where we cut, which is the same below a half.
    x = images(size, size)
    resized = ops.convert_to_numpy(bicubic_resize(x, scale, "scale_factor"))
    expected = [
        cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for one in x
    ]
    np.testing.assert_allclose(resized, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [(90, 0.7, 62), (170, 0.7, 118), (100, 0.7, 70), (10, 0.9, 9), (5, 0.6, 3), (2, 0.6, 1)],
)
def test_sizes_are_cut_in_double_precision(size, scale, expected):
    assert bicubic_matrix(size, scale, "scale_factor").shape == (expected, size)


@pytest.mark.parametrize("mode", ["scale_factor", "size_ratio"])
@pytest.mark.parametrize("size", [2, 5, 90, 333])
def test_a_size_that_is_only_known_later_gives_the_same(size, mode):
    # Only TensorFlow has such sizes; JAX, which has no float64 either, traces numbers.
    later = ops.convert_to_tensor if keras.backend.backend() == "tensorflow" else int
    for scale in SCALES:
        known = bicubic_matrix(size, scale, mode)
        found = ops.convert_to_numpy(bicubic_matrix(later(size), scale, mode))
        np.testing.assert_allclose(found, known, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_weights_add_up_to_one_with_the_border_repeated(scale):
    np.testing.assert_allclose(bicubic_matrix(31, scale, "scale_factor").sum(1), 1, atol=1e-14)


def test_halves_keep_their_dtype():
    x = ops.cast(images(6, 7), "bfloat16")
    assert keras.backend.standardize_dtype(bicubic_resize(x, 0.6, "size_ratio").dtype) == "bfloat16"
