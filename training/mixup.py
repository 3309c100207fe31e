"""MixUp of image pairs."""

import tensorflow as tf


def mixup(alpha: float, from_step: int, seed: int):
    """Make a function that mixes the samples of a batch.

    Args:
        alpha: Parameter of the distribution Beta(alpha, alpha), from which the
            weight of each sample is drawn.
        from_step: First step that mixes; earlier batches are not changed.
        seed: Seed of the weights and partners of a step.

    Returns:
        A function of `(step, (degraded, target))` that returns the mixed
        pair: sample `i` becomes `w * sample[i] + (1 - w) * sample[partner[i]]`,
        degraded and target with the same weight and partner.

    Reference:
        TSP-RDANet, real-noise training code (alpha 0.6, from epoch 6).
    """

    def mix(step, pair):
        degraded, target = pair
        key = tf.stack([tf.cast(seed, tf.int32), tf.cast(step, tf.int32)])
        # Beta(a, a) is G1 / (G1 + G2) of two Gamma(a) variables.
        gammas = tf.random.stateless_gamma([2, tf.shape(target)[0]], key, alpha)
        weight = gammas[0] / (gammas[0] + gammas[1])
        weight = tf.where(step < from_step, 1.0, weight)[:, None, None, None]
        order = tf.random.experimental.index_shuffle(
            tf.range(tf.shape(target)[0]), key, tf.shape(target)[0] - 1
        )
        return tuple(
            weight * images + (1.0 - weight) * tf.gather(images, order)
            for images in (degraded, target)
        )

    return mix
