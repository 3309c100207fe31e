"""Bicubic downsampling, which super-resolution undoes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_rdanet.image.resize import check_scale, check_size, shrink

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class SuperResolution:
    """Antialiased downsampling for a training pipeline; nothing about it is random.

    Args:
        scale: 2, 3 or 4.

    Called with a float32 batch `(B, H, W, C)`, height and width known and
    multiples of the scale, and a seed, which it ignores, it returns
    `(B, H/scale, W/scale, C)` float32, not clipped: the overshoot of the kernel
    at edges is kept.

    Raises:
        ValueError: if the scale is another, or does not divide height and width.
    """

    scale: int

    def __post_init__(self):
        check_scale(self.scale)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the small batch of `target`."""
        import tensorflow as tf

        del seed
        check_size(target.shape[1:3], self.scale)
        rows = shrink(target, self.scale, 1, tf.gather)
        return shrink(rows, self.scale, 2, tf.gather)
