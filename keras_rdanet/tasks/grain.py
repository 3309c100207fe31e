"""Coarse noise: what white noise becomes when a picture is enlarged, smoothed or sharpened."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_rdanet.tasks.filtering import filter_each
from keras_rdanet.tasks.ranges import Range, check_option, draw

if TYPE_CHECKING:
    import tensorflow as tf

# The cubic kernel at -0.5 is that of `imresize`; towards -1 it sharpens, towards 0 it smooths.
_CUBIC = (-1.0, 0.0)


def check_grain(task: Any) -> None:
    """Raise a `ValueError` unless the option `grain` is a number of 1 to 8, or a range of them."""
    check_option(task, "grain", "a number of pixels from 1 to 8", low=1, high=8)


def coarsen(noise: "tf.Tensor", grain: Range, seed: "tf.Tensor") -> "tf.Tensor":
    """Correlate neighbouring pixels of white noise, and keep its standard deviation.

    Every sample is filtered by a cubic interpolation kernel stretched to its
    own grain, as if the noise had been enlarged by that factor. How much the
    kernel sharpens is drawn for every sample too.

    Args:
        noise: `(B, H, W, C)` float32 of mean zero.
        grain: Width of a grain in pixels, 1 to 8; or a range, from which every
            sample draws its own, uniformly. `1` leaves the noise as it is.
        seed: Two integers.

    Returns:
        The coarse noise, of the same shape, float32.
    """
    import tensorflow as tf

    largest = max(grain) if isinstance(grain, Sequence) else grain
    if largest == 1:
        return noise
    grain_seed, shape_seed = tf.unstack(tf.random.split(seed, 2))
    radius = math.ceil(2 * largest) - 1
    place = tf.abs(tf.range(-radius, radius + 1, dtype=tf.float32))
    t = place / draw(grain, noise, grain_seed)[:, None]
    a = draw(_CUBIC, noise, shape_seed)[:, None]
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    taps = tf.where(t <= 1, near, tf.where(t < 2, far, 0.0))
    taps /= tf.norm(taps, axis=1, keepdims=True)
    return filter_each(noise, taps[:, :, None] * taps[:, None, :])
