import numpy as np
import tensorflow as tf

from keras_rdanet.training.mixup import mixup


def batch():
    # Sample i holds the number i, so a mixture shows what it is made of.
    target = tf.reshape(tf.range(64, dtype=tf.float32), (64, 1, 1, 1)) * tf.ones((1, 2, 2, 1))
    return target + 100.0, target


def test_degraded_and_target_are_mixed_alike():
    degraded, target = mixup(0.6, 0, seed=1)(7, batch())
    np.testing.assert_allclose(degraded - 100.0, target, atol=1e-4)
    assert not np.array_equal(target, batch()[1])


def test_mean_weight_is_a_half_and_weights_differ_by_sample():
    target = batch()[1]
    means = []
    for step in range(50):
        mixed = mixup(0.6, 0, seed=1)(step, (target, target))[0]
        means.append(float(tf.reduce_mean(mixed)))
    # The partners are a permutation; the mean over many draws stays that of the batch.
    assert abs(np.mean(means) - 31.5) < 1
    assert np.std(means) > 0


def test_batches_before_the_start_pass_unchanged():
    degraded, target = mixup(0.6, 8, seed=1)(7, batch())
    np.testing.assert_array_equal(target, batch()[1])
    np.testing.assert_array_equal(degraded, batch()[0])


def test_same_step_gives_the_same_mixture():
    one, two, other = (mixup(0.6, 0, seed=1)(step, batch())[1] for step in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
