"""Rain: bright streaks that fall in one direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_rdanet.tasks.base import Layout, Pairs, Task
from keras_rdanet.tasks.filtering import filter_each
from keras_rdanet.tasks.motion_blur import motion_kernels
from keras_rdanet.tasks.ranges import Range, check_option, draw
from keras_rdanet.tasks.scoring import Scoring

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Rain(Task):
    """Synthetic rain for a training pipeline, a pure function of its seed.

    Drops on random pixels, each of its own brightness, are drawn out into
    parallel streaks and added to all colours alike. Every sample of a batch has
    rain of its own.

    Args:
        density: Streaks per pixel; or a range `(low, high)`.
        length: Length of a streak in pixels; or a range.
        angle: Angle to falling straight down, in degrees; positive falls towards
            the right; or a range.
        strength: Brightness of the brightest streak, white is 1; or a range.

    Called with a float32 batch `(B, H, W, C)` in `[0, 1]` and a seed, two
    integers, it returns the rainy batch: same shape, float32, clipped to `[0, 1]`.

    Raises:
        ValueError: if a number is out of its range or a range is empty.

    Reference:
        The linear model of Yang et al., Deep joint rain detection and removal,
        2017, section 3: an image plus streaks, as in Rain100L and Rain100H. The
        ranges are ours, chosen by eye; there is neither mist nor depth.
    """

    density: Range = (0.001, 0.01)
    length: Range = (8, 32)
    angle: Range = (-30, 30)
    strength: Range = (0.2, 0.8)

    name = "rain"
    title = "synthetic rain"
    pairs_title = "rain pairs"
    layouts = {
        "rain100": Layout(
            r"((?:.*/)?)rain(?:y|/x2)?/(?:no)?rain-(\d+)(?:x2)?",
            r"((?:.*?/)??)(?:norain/)?norain-(\d+)",
        ),
        "rain13k": Layout(r"(.*/)?input/(.*)", r"(.*/)?target/(.*)"),
    }

    def __post_init__(self):
        check_option(self, "density", "a number of 0-1", low=0, high=1)
        check_option(self, "length", "a number of pixels >= 0", low=0)
        check_option(self, "angle", "a number of degrees from -90 to 90", low=-90, high=90)
        check_option(self, "strength", "a number of 0-1", low=0, high=1)

    @property
    def scoring(self) -> Scoring:
        """On Y rounded to 8 bits, as papers on rain score, by MATLAB's rgb2ycbcr."""
        return Scoring("rounded")

    @classmethod
    def pairs(cls, scale: int = 1, *, crop_border: int | None = None) -> Pairs:
        """Return the protocol that scores pairs, on Y rounded to 8 bits."""
        return Pairs(cls.pairs_title, scale, Scoring("rounded", crop_border or 0))

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the rainy batch of `target`."""
        import tensorflow as tf

        layer_seed, strength_seed = tf.unstack(tf.random.split(seed, 2))
        strength = draw(self.strength, target, strength_seed)[:, None, None, None]
        return tf.clip_by_value(target + strength * self._streaks(target, layer_seed), 0.0, 1.0)

    def _streaks(self, images, seed):
        """Draw streaks for images, `(B, H, W, 1)` in `[0, 1]`."""
        import tensorflow as tf

        seeds = tf.unstack(tf.random.split(seed, 5))
        longest = max(self.length) if isinstance(self.length, Sequence) else self.length
        length = draw(self.length, images, seeds[0])
        direction = 90.0 - draw(self.angle, images, seeds[1])
        kernels = motion_kernels(length, direction, tf.zeros_like(length), seeds[2], longest)

        # Drops also fall outside the image, as far as their streaks reach into it.
        margin = kernels.shape[1] // 2
        batch, height, width, _ = tf.unstack(tf.shape(images))
        shape = [batch, height + 2 * margin, width + 2 * margin, 1]
        density = draw(self.density, images, seeds[3])[:, None, None, None]
        brightness_seed, place_seed = tf.unstack(tf.random.split(seeds[4], 2))
        falls = tf.random.stateless_uniform(shape, place_seed) < density
        drops = tf.where(falls, tf.random.stateless_uniform(shape, brightness_seed, 0.3, 1.0), 0.0)

        # A kernel spreads a drop thin; times its length, a streak is as bright as the drop.
        streaks = filter_each(drops, kernels * tf.maximum(length, 1.0)[:, None, None])
        inner = streaks[:, margin : margin + height, margin : margin + width]
        return tf.minimum(inner, 1.0)
