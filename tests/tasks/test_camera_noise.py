import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.bayer_mosaic import mosaic
from keras_rdanet.tasks.camera_noise import CameraNoise, demosaic, to_linear, to_srgb


def residual(level, seed=(1, 2), count=8, size=48, **options):
    """The noise on flat gray images, in gray levels."""
    target = tf.fill((count, size, size, 3), level)
    return (CameraNoise(**options)(target, seed) - target).numpy() * 255


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_tone_curves_undo_each_other():
    values = tf.linspace(0.0, 1.0, 101)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=2e-6)
    # By hand: 3 x^2 - 2 x^3 is 0.5 at 0.5, whose gamma is undone by the power 2.2.
    np.testing.assert_allclose(to_linear(tf.constant(0.5)), 0.5**2.2, rtol=1e-6)


def test_demosaicking_keeps_samples_and_averages_the_rest():
    image = np.random.default_rng(0).uniform(0, 1, (6, 8, 3)).astype(np.float32)
    taken = mosaic(image)
    full = demosaic(tf.constant(taken[None])).numpy()[0]
    np.testing.assert_allclose(full[taken > 0], taken[taken > 0], rtol=1e-6)
    red, green, blue = (taken[..., c] for c in range(3))
    np.testing.assert_allclose(full[2, 3, 0], (red[2, 2] + red[2, 4]) / 2, rtol=1e-5)
    corners = red[2, 2] + red[2, 4] + red[4, 2] + red[4, 4]
    np.testing.assert_allclose(full[3, 3, 0], corners / 4, rtol=1e-5)
    cross = green[1, 2] + green[3, 2] + green[2, 1] + green[2, 3]
    np.testing.assert_allclose(full[2, 2, 1], cross / 4, rtol=1e-5)
    np.testing.assert_allclose(full[0, 0, 2], blue[1, 1], rtol=1e-5)  # mirrored at the corner


def test_flat_colours_survive_demosaicking_at_borders():
    flat = np.broadcast_to(np.float32([0.2, 0.5, 0.7]), (4, 6, 3))
    np.testing.assert_allclose(demosaic(tf.constant(mosaic(flat)[None]))[0], flat, rtol=1e-6)


def test_a_noiseless_sensor_leaves_the_picture_alone():
    image = tf.constant(np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)), tf.float32)
    np.testing.assert_allclose(CameraNoise(shot=1e-12)(image, [1, 2]), image, atol=1e-4)


def test_noise_grows_with_the_root_of_its_variance():
    # Read noise is far below shot noise here, and the same seed draws the same cameras.
    weak, strong = (residual(0.5, shot=shot).std() for shot in (1e-6, 1e-4))
    assert strong / weak == pytest.approx(10, rel=0.05)


def test_noise_depends_on_the_signal():
    # 3 x^2 - 2 x^3 flattens at black and white: mid tones are the noisiest.
    dark, middle, bright = (residual(level, shot=1e-3).std() for level in (0.02, 0.4, 0.97))
    assert middle > 1.5 * dark
    assert middle > 1.5 * bright


def test_neighbours_share_their_noise():
    noise = residual(0.4, shot=1e-3)
    assert correlation(noise[:, :, 1:], noise[:, :, :-1]) > 0.3
    assert correlation(noise[:, 1:], noise[:, :-1]) > 0.3
    assert abs(correlation(noise[:, :, 6:], noise[:, :, :-6])) < 0.05  # but not afar


def test_colours_share_their_noise():
    noise = residual(0.4, shot=1e-3)
    pairs = [correlation(noise[..., a], noise[..., b]) for a, b in ((0, 1), (1, 2))]
    assert min(abs(np.array(pairs))) > 0.1


def test_noise_has_no_bias_where_nothing_clips():
    noise = residual(0.4, shot=2e-5, count=64)  # more of it, and the curve of the gamma shows
    assert abs(noise.mean()) < 0.03 * noise.std()
    assert noise.std() > 1


def test_levels_range_from_good_light_to_bad():
    deviations = residual(0.4, count=200, size=12).std(axis=(1, 2, 3))
    low, high = np.quantile(deviations, [0.05, 0.95])
    assert low < 5
    assert high > 20


def test_result_is_what_a_camera_can_write():
    noisy = CameraNoise(shot=0.5)(tf.random.stateless_uniform((2, 16, 16, 3), [0, 1]), [1, 2])
    assert noisy.dtype == tf.float32
    assert noisy.numpy().min() == 0
    assert noisy.numpy().max() == 1


def test_jpeg_comes_last():
    image = tf.random.stateless_uniform((2, 16, 16, 3), [0, 1])
    plain = CameraNoise()(image, [1, 2]).numpy()
    compressed = CameraNoise(jpeg_quality=(60, 90))(image, [1, 2]).numpy()
    levels = compressed * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert 0 < np.abs(compressed - plain).mean() < 0.3


def test_noise_is_a_function_of_its_seed_inside_a_pipeline():
    target = tf.random.stateless_uniform((2, 16, 16, 3), [0, 1])
    degrade = CameraNoise(jpeg_quality=80)
    data = tf.data.Dataset.range(2).map(lambda step: degrade(target, tf.stack([7, step])))
    first, again = list(data), list(data)
    assert data.element_spec.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_gray_is_refused():
    with pytest.raises(ValueError, match="needs RGB images"):
        CameraNoise()(tf.zeros((1, 8, 8, 1)), [1, 2])


@pytest.mark.parametrize("shot", [0, -1e-3, 2, (0.01, 0.001), "0.01"])
def test_wrong_shot_noise_is_refused(shot):
    with pytest.raises(ValueError, match="`shot` must be a variance"):
        CameraNoise(shot=shot)


def test_wrong_jpeg_quality_is_refused():
    with pytest.raises(ValueError, match="`jpeg_quality` must be"):
        CameraNoise(jpeg_quality=0)
