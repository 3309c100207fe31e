import numpy as np
import tensorflow as tf

from keras_rdanet.training.noise_gain import noise_gain


def batch():
    random = np.random.default_rng(0)
    target = random.uniform(0.3, 0.7, (64, 4, 4, 3)).astype(np.float32)
    return target + random.uniform(-0.1, 0.1, target.shape).astype(np.float32), target


def test_the_noise_is_multiplied_and_the_target_stays():
    degraded, target = batch()
    amplified, same = noise_gain(2.0, seed=1)(7, (degraded, target))
    np.testing.assert_array_equal(same, target)
    np.testing.assert_allclose(amplified - target, 2 * (degraded - target), atol=1e-6)


def test_every_sample_draws_its_own_gain_from_the_range():
    degraded, target = batch()
    amplified, _ = noise_gain((0.5, 3.0), seed=1)(7, (degraded, target))
    gains = np.std(amplified - target, axis=(1, 2, 3)) / np.std(degraded - target, axis=(1, 2, 3))
    assert 0.5 <= gains.min() < 0.8
    assert 2.7 < gains.max() <= 3.0001
    assert abs(gains.mean() - 1.75) < 0.3


def test_the_result_stays_in_the_range_of_a_picture():
    degraded, target = batch()
    amplified, _ = noise_gain(50.0, seed=1)(7, (degraded, target))
    assert tf.reduce_min(amplified) == 0
    assert tf.reduce_max(amplified) == 1


def test_the_same_step_draws_the_same():
    one, two, other = (noise_gain((1, 3), seed=1)(step, batch())[0] for step in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
