import math

import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.image.resize import bicubic_taps, downsample, upsample
from keras_rdanet.tasks.super_resolution import SuperResolution


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def imresize_row(row, scale):
    """MATLAB's contributions of one row, literally: positions from 1, ceil(4 s) + 2 taps."""
    small = []
    for x in range(1, len(row) // scale + 1):
        u = x * scale + 0.5 * (1 - scale)
        left = math.floor(u - 4 * scale / 2)
        weights, values = [], []
        for index in range(left, left + 4 * scale + 2):
            weights.append(cubic((u - index) / scale) / scale)
            mirrored = [*range(len(row)), *reversed(range(len(row)))]
            values.append(row[mirrored[(index - 1) % len(mirrored)]])
        small.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return small


def imresize(image, scale):
    rows = np.apply_along_axis(imresize_row, 0, image, scale)
    return np.apply_along_axis(imresize_row, 1, rows, scale)


def images(height, width, count=1):
    return np.random.default_rng(5).uniform(0, 1, (count, height, width, 3))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_agrees_with_a_literal_imresize(scale):
    image = images(24, 36)[0]
    np.testing.assert_allclose(downsample(image, scale), imresize(image, scale), atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_small_images_are_mirrored_more_than_once(scale):
    image = images(scale, 2 * scale)[0]
    np.testing.assert_allclose(downsample(image, scale), imresize(image, scale), atol=1e-12)


def test_taps_for_halving_are_those_of_the_formula():
    # The kernel at odd quarters: (-3, -9, 29, 111, ...) / 256, MATLAB's weights for 1/2.
    offsets, weights = bicubic_taps(2)
    np.testing.assert_array_equal(offsets, range(-3, 5))
    np.testing.assert_allclose(weights * 256, [-3, -9, 29, 111, 111, 29, -9, -3], atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pipeline_and_evaluation_agree(scale):
    batch = images(24, 48, count=2).astype(np.float32)
    small = SuperResolution(scale)(tf.constant(batch), [1, 2])
    assert small.dtype == tf.float32
    assert small.shape == (2, 24 // scale, 48 // scale, 3)
    np.testing.assert_allclose(small, [downsample(image, scale) for image in batch], atol=1e-6)


def test_a_ramp_keeps_its_slope_and_place():
    ramp = np.broadcast_to(np.arange(48.0)[None, :, None], (12, 48, 1))
    inner = downsample(ramp, 3)[0, 2:-2, 0]
    np.testing.assert_allclose(inner, 3 * np.arange(2, 14) + 1, atol=1e-12)  # pixel centres


def test_gray_stays_gray_inside_a_pipeline():
    batch = tf.fill((2, 8, 8, 1), 0.25)
    data = tf.data.Dataset.range(1).map(lambda step: SuperResolution(4)(batch, [1, 2]))
    assert data.element_spec.shape == (2, 2, 2, 1)
    np.testing.assert_allclose(next(iter(data)), np.full((2, 2, 2, 1), 0.25), atol=1e-6)


@pytest.mark.parametrize("scale", [0, 1, 5, 2.5, "2"])
def test_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match="`scale` must be 2, 3 or 4"):
        SuperResolution(scale)
    with pytest.raises(ValueError, match="`scale` must be 2, 3 or 4"):
        downsample(images(8, 8)[0], scale)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="10x9 pixels cannot be downsampled by 3; crop"):
        downsample(images(9, 10)[0], 3)
    with pytest.raises(ValueError, match="10x9 pixels cannot be downsampled by 3; crop"):
        SuperResolution(3)(tf.constant(images(9, 10)), [1, 2])


def test_sizes_unknown_when_traced_are_refused():
    spec = tf.TensorSpec((None, None, 8, 3), tf.float32)
    with pytest.raises(ValueError, match="needs to know height and width"):
        tf.function(SuperResolution(2)).get_concrete_function(spec, [1, 2])


def enlarged_row(row, scale):
    """MATLAB's contributions of one row of an enlarged image, literally."""
    large = []
    for x in range(1, len(row) * scale + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - 2)
        mirrored = [*range(len(row)), *reversed(range(len(row)))]
        taps = range(left, left + 6)
        large.append(sum(cubic(u - i) * row[mirrored[(i - 1) % len(mirrored)]] for i in taps))
    return large


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(7, 11), (1, 2)])
def test_enlarging_agrees_with_a_literal_imresize(scale, size):
    image = images(*size)[0].astype(np.float32)
    rows = np.apply_along_axis(enlarged_row, 0, image, scale)
    expected = np.apply_along_axis(enlarged_row, 1, rows, scale)
    assert upsample(image, scale).dtype == np.float32
    np.testing.assert_allclose(upsample(image, scale), expected, atol=1e-6)


def test_other_scales_do_not_enlarge():
    with pytest.raises(ValueError, match="2, 3 or 4, got 5"):
        upsample(images(4, 4)[0], 5)
