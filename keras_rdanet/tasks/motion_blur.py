"""Motion blur: the camera moves while the shutter is open."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_rdanet.tasks.base import Layout, Task
from keras_rdanet.tasks.filtering import filter_each
from keras_rdanet.tasks.ranges import Range, check_option, draw

if TYPE_CHECKING:
    import tensorflow as tf

_STEPS_PER_PIXEL = 4  # of the path, so that it has no gaps


@dataclass(frozen=True)
class MotionBlur(Task):
    """Motion blur for a training pipeline, a pure function of its seed.

    Every sample of a batch is blurred along a path of its own, in a random
    direction and at a constant speed.

    Args:
        length: Length of the path in pixels; or a range `(low, high)`.
        bend: Change of the direction along the path: the standard deviation of
            its random walk from start to end, in degrees; or a range. `0` makes
            straight paths.

    Called with a float32 batch `(B, H, W, C)` in `[0, 1]` and a seed, two
    integers, it returns the blurred batch: same shape, float32, in `[0, 1]`,
    borders mirrored.

    Raises:
        ValueError: if a number is negative or a range is empty.

    Reference:
        Boracchi and Foi, Modeling the performance of image restoration from
        motion blur, 2012, for random walks as paths; theirs also has a random
        speed and sudden shakes. All pixels of an image move alike, unlike in
        the pairs of GoPro.
    """

    length: Range = (5, 25)
    bend: Range = (0, 120)

    name = "motion_blur"
    title = "synthetic motion blur"
    pairs_title = "blur pairs"
    layouts = {"gopro": Layout(r"(.*/)?blur/([^/]*)", r"(.*/)?sharp/([^/]*)")}

    def __post_init__(self):
        check_option(self, "length", "a number of pixels >= 0", low=0)
        check_option(self, "bend", "a number of degrees >= 0", low=0)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the blurred batch of `target`."""
        import tensorflow as tf

        length_seed, bend_seed, start_seed, walk_seed = tf.unstack(tf.random.split(seed, 4))
        longest = max(self.length) if isinstance(self.length, Sequence) else self.length
        kernels = motion_kernels(
            draw(self.length, target, length_seed),
            draw((0, 360), target, start_seed),
            draw(self.bend, target, bend_seed),
            walk_seed,
            longest,
        )
        return filter_each(target, kernels)


def motion_kernels(
    length: "tf.Tensor",
    direction: "tf.Tensor",
    bend: "tf.Tensor",
    seed: "tf.Tensor",
    longest: float,
) -> "tf.Tensor":
    """Draw paths and spread each over the pixels that it passes.

    Args:
        length: `(B,)` in pixels, none above `longest`.
        direction: `(B,)` where each path starts to, in degrees: 0 is right, 90 down.
        bend: `(B,)` deviation of the random walk of the direction, in degrees.
        seed: Two integers, for that walk.
        longest: Length that no path exceeds, in pixels; it decides the size of
            the kernels.

    Returns:
        `(B, K, K)` float32, each of sum one and with its centre of mass in the
        middle; `K` is odd.
    """
    import tensorflow as tf

    # No point of a path is further from its centre of mass than half its length.
    radius = math.ceil(longest / 2)
    steps = max(1, math.ceil(_STEPS_PER_PIXEL * longest))
    turns = tf.random.stateless_normal([tf.shape(length)[0], steps], seed) / math.sqrt(steps)
    degrees = direction[:, None] + bend[:, None] * tf.cumsum(turns, axis=1)
    angle = degrees * (math.pi / 180)
    moves = tf.stack([tf.sin(angle), tf.cos(angle)], axis=-1) * length[:, None, None] / steps
    path = tf.cumsum(moves, axis=1)
    path -= tf.reduce_mean(path, axis=1, keepdims=True)
    # Bilinear: a point between pixels belongs to all four.
    grid = tf.range(-radius, radius + 1, dtype=tf.float32)
    shares = tf.nn.relu(1 - tf.abs(path[..., None] - grid))
    return tf.einsum("bty,btx->byx", shares[:, :, 0], shares[:, :, 1]) / steps
