import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.gaussian_noise import GaussianNoise
from keras_rdanet.tasks.grain import coarsen


def correlations(noise):
    """Correlation of horizontal neighbours in each image."""
    return [np.corrcoef(n[:, 1:].ravel(), n[:, :-1].ravel())[0, 1] for n in noise]


def test_a_grain_of_one_pixel_changes_nothing():
    target = tf.fill((2, 16, 16, 1), 0.5)
    plain, fine = (GaussianNoise(25, grain=g)(target, [1, 2]) for g in (1.0, (1, 1)))
    np.testing.assert_array_equal(plain, fine)


def test_coarse_noise_is_correlated_and_as_strong_as_white_noise():
    target = tf.fill((4, 96, 96, 3), 0.5)
    noise = (GaussianNoise(25, grain=2)(target, [1, 2]) - target).numpy() * 255
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), 25, rtol=0.06)
    # The cubic kernel of width 2 by hand: between 0.60 (sharpening) and 0.79 (smoothing).
    assert 0.55 < min(correlations(noise)) < max(correlations(noise)) < 0.82


def test_every_sample_draws_a_grain_of_its_own():
    noise = tf.random.stateless_normal((32, 64, 64, 1), [3, 4])
    found = correlations(coarsen(noise, (1, 4), [5, 6]).numpy())
    assert min(found) < 0.3
    assert max(found) > 0.85
    np.testing.assert_array_equal(coarsen(noise, (1, 4), [5, 6]), coarsen(noise, (1, 4), [5, 6]))


def test_camera_noise_becomes_coarser():
    target = tf.fill((4, 64, 64, 3), 0.4)
    fine, coarse = (
        correlations((CameraNoise(1e-3, grain=g)(target, [1, 2]) - target).numpy()) for g in (1, 3)
    )
    assert min(coarse) > max(fine)


def test_noise_is_compressed_after_it_was_added():
    target = tf.fill((2, 16, 16, 3), 0.5)
    noisy = GaussianNoise(25, jpeg_quality=30)(target, [1, 2]).numpy()
    np.testing.assert_allclose(noisy * 255, np.rint(noisy * 255), atol=1e-4)
    assert 1 < (noisy * 255).std() < 25


@pytest.mark.parametrize("grain", [0.5, 9, (2, 1), "2"])
def test_wrong_grain_is_refused(grain):
    with pytest.raises(ValueError, match="`grain` must be"):
        GaussianNoise(25, grain=grain)
