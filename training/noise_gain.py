"""Stronger and weaker noise from pairs of noisy and clean images."""

import tensorflow as tf

from keras_rdanet.degradations.ranges import Range, draw


def noise_gain(gain: Range, seed: int):
    """Make a function that multiplies the noise of every sample of a batch.

    Pairs are often taken at a few exposures only; what a network learns from
    them then fails at the others.

    Args:
        gain: By which the difference to the target is multiplied, or a range
            from which every sample draws its own.
        seed: With the step it decides the draws.

    Returns:
        A function of `(step, (degraded, target))`, float32 in `[0, 1]`, both of
        one size; the noise of a degraded image is multiplied and the sum clipped
        to `[0, 1]`, as a camera clips.
    """

    def amplify(step, pair):
        degraded, target = pair
        key = tf.stack([tf.cast(seed, tf.int32), tf.cast(step, tf.int32)])
        factor = draw(gain, target, key)[:, None, None, None]
        return tf.clip_by_value(target + factor * (degraded - target), 0.0, 1.0), target

    return amplify
