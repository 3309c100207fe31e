import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.motion_blur import MotionBlur, filter_each, motion_kernels


def kernels(length, direction=0.0, bend=0.0, seed=(1, 2), count=1, longest=None):
    numbers = [tf.fill([count], float(value)) for value in (length, direction, bend)]
    return motion_kernels(*numbers, seed, longest or length).numpy()


def spread(kernel):
    """Deviations of a kernel down and to the right, without a pixel's own."""
    radius = len(kernel) // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.sqrt([max((kernel * v**2).sum() - 1 / 6, 0) for v in (y, x)])


def test_a_straight_path_is_a_box():
    # Nine pixels of path, spread bilinearly: level inside, ends fade.
    row = kernels(9)[0][5]
    np.testing.assert_allclose(row[2:-2], np.full(7, 1 / 9), atol=2e-3)
    assert row.sum() == pytest.approx(1, abs=1e-5)  # nothing above or below


@pytest.mark.parametrize(
    ("direction", "down", "right"), [(0, 0, 1), (90, 1, 0), (45, 0.707, 0.707)]
)
def test_paths_have_their_direction_and_length(direction, down, right):
    # A path of length L spreads by L / sqrt(12) along itself.
    expected = np.array([down, right]) * 13 / 12**0.5
    np.testing.assert_allclose(spread(kernels(13, direction)[0]), expected, atol=0.3)


def test_downward_is_not_upward():
    kernel = kernels(12, direction=45)[0]  # right and down: the main diagonal
    assert np.trace(kernel) > 5 * np.trace(kernel[::-1])


def test_every_path_lies_inside_its_kernel_and_is_centred():
    found = kernels(20, 30, bend=200, count=50)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-5)
    assert found.min() >= 0
    axis = np.arange(-10, 11)
    np.testing.assert_allclose(found.sum(axis=1) @ axis, 0, atol=1e-3)
    np.testing.assert_allclose(found.sum(axis=2) @ axis, 0, atol=1e-3)


def test_bent_paths_reach_less_far():
    straight, bent = (
        np.mean([np.hypot(*spread(k)) for k in kernels(20, 0, bend, count=40)]) for bend in (0, 150)
    )
    assert bent < 0.8 * straight


def test_no_motion_changes_nothing():
    images = tf.random.stateless_uniform((2, 9, 7, 3), [0, 1])
    np.testing.assert_allclose(MotionBlur(length=0)(images, [1, 2]), images, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_has_its_own_kernel(channels):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (3, 12, 10, channels)).astype(np.float32)
    filters = rng.uniform(0, 1, (3, 5, 5)).astype(np.float32)
    expected = [
        cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT).reshape(image.shape)
        for image, kernel in zip(images, filters, strict=True)
    ]
    found = filter_each(tf.constant(images), tf.constant(filters))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_blurred_images_keep_their_mean_and_lose_detail():
    target = tf.random.stateless_uniform((4, 64, 64, 1), [0, 1])
    blurred = MotionBlur(length=(8, 16))(target, [1, 2]).numpy()
    np.testing.assert_allclose(blurred.mean(axis=(1, 2, 3)), 0.5, atol=0.02)
    assert blurred.std() < 0.5 * target.numpy().std()
    assert len(np.unique(blurred.std(axis=(1, 2, 3)).round(4))) == 4  # each in its own way


def test_blur_is_a_function_of_its_seed_inside_a_pipeline():
    target = tf.random.stateless_uniform((2, 32, 32, 3), [0, 1])
    degrade = MotionBlur()
    data = tf.data.Dataset.range(2).map(lambda step: degrade(target, tf.stack([7, step])))
    first, again = list(data), list(data)
    assert data.element_spec.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_kernels_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match="41x41 pixels are too large for images of 64x16"):
        MotionBlur(length=40)(tf.zeros((1, 16, 64, 3)), [1, 2])


@pytest.mark.parametrize("options", [{"length": -1}, {"length": (9, 3)}, {"bend": -5}])
def test_wrong_options_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be a number of"):
        MotionBlur(**options)
