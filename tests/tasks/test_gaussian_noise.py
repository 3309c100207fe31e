import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.gaussian_noise import GaussianNoise, add_gaussian_noise, protocol_noise


def test_protocol_noise_is_the_papers_noise():
    # A flat RGB image in the original evaluation code, its first two pixels.
    noise = protocol_noise((8, 10, 3), sigma=25)
    noisy = [[0.67490715, 0.54119194, 0.59791553], [0.7216562, 0.6850547, 0.40614927]]
    np.testing.assert_allclose(128 / 255 + noise[0, :2], noisy, atol=1e-6)
    assert noise.dtype == np.float32


def test_protocol_noise_leaves_the_global_generator_alone():
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    protocol_noise((4, 4, 1), sigma=25)
    assert np.random.rand() == expected


def test_fixed_noise_has_its_deviation_in_gray_levels():
    target = tf.fill((4, 64, 64, 3), 0.99)
    noise = (GaussianNoise(sigma=25)(target, [1, 2]) - target).numpy() * 255
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), 25, rtol=0.03)
    assert abs(noise.mean()) < 0.5  # clipping at white would pull it below zero


def test_mean_shifts_the_noise_and_nothing_else():
    target = tf.fill((2, 16, 16, 1), 0.5)
    shift = GaussianNoise(5, mean=-51)(target, [1, 2]) - GaussianNoise(5)(target, [1, 2])
    np.testing.assert_allclose(shift, -51 / 255, atol=1e-6)


def test_blind_noise_draws_uniform_levels_for_every_sample():
    target = tf.zeros((512, 24, 24, 1))
    sigma = GaussianNoise(sigma=(10, 50))(target, [3, 4]).numpy().std(axis=(1, 2, 3)) * 255
    quartiles = np.quantile(sigma, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quartiles, [10, 20, 30, 40, 50], atol=3.5)


def test_noise_is_a_function_of_its_seed():
    target = tf.zeros((2, 8, 8, 1))
    noise = GaussianNoise(sigma=(0, 50))
    first = noise(target, [1, 2]).numpy()
    np.testing.assert_array_equal(noise(target, [1, 2]), first)
    assert not np.array_equal(noise(target, [1, 3]), first)


def test_sigma_per_sample():
    noisy = add_gaussian_noise(tf.zeros((2, 64, 64, 1)), [0, 50], [1, 2]).numpy() * 255
    assert not noisy[0].any()
    assert noisy[1].std() == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("sigma", [-1, (20, 10), (-5, 5), float("nan"), (1, 2, 3), "25"])
def test_wrong_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match="`sigma` must be"):
        GaussianNoise(sigma)
