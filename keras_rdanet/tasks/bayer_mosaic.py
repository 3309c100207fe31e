"""Bayer mosaics: the samples of a colour image that a sensor under a Bayer filter records."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_rdanet.image.io import to_float
from keras_rdanet.tasks.base import Task

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class BayerMosaic(Task):
    """RGGB mosaics for a training pipeline, without any randomness.

    Called with a float32 batch `(B, H, W, 3)` RGB and a seed, which it ignores,
    it returns what `mosaic` makes of every image.

    For scoring, RGGB from the top left of every image: CBSD68 scores 8.43 dB
    so degraded, as in the PANet paper.

    Raises:
        ValueError: if the batch is not RGB.
    """

    name = "bayer_mosaic"
    title = "Bayer mosaic"
    pairs_title = "mosaic pairs"
    needs_rgb = True
    cells = True

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the mosaics of `target`."""
        import tensorflow as tf

        del seed
        _check_rgb(target)
        return target * bayer_masks(tf.shape(target), tf.zeros((1, 2), tf.int32))

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return the mosaic of `(H, W, 3)` uint8, float32 in `[0, 1]`."""
        del index
        return mosaic(to_float(clean))

    def describe(self) -> dict[str, Any]:
        """Say how images are mosaicked."""
        return {
            "degraded": "RGGB from the top left, zeros for the missing samples, float32; "
            "odd sides are reflected to even ones"
        }


def bayer_masks(shape: "tf.Tensor", origins: "tf.Tensor") -> "tf.Tensor":
    """Mark the samples that an RGGB sensor takes.

    Args:
        shape: Shape of the images, `(B, H, W, 3)`.
        origins: `(B, 2)` or `(1, 2)` integers, the row and column of the
            sensor where each image starts; only their parity matters.

    Returns:
        `(B, H, W, 3)` or `(1, H, W, 3)` float32, ones and zeros.
    """
    import tensorflow as tf

    rows = (origins[:, 0, None, None] + tf.range(shape[1])[:, None]) % 2
    columns = (origins[:, 1, None, None] + tf.range(shape[2])) % 2
    return tf.one_hot(rows + columns, 3)  # a cell is R G over G B: 0 1 over 1 2


def mosaic(image: np.ndarray) -> np.ndarray:
    """Keep of each pixel the one colour that an RGGB sensor records.

    Red has the even rows and columns, counted from 0 at the top left, blue the
    odd ones, green the rest. The two other colours of a pixel become zero, not
    missing: CBSD68 made so scores the 8.43 dB that the PANet paper has for its
    mosaicked input.

    Args:
        image: `(..., H, W, 3)` RGB.

    Returns:
        The mosaic, with the shape and dtype of the image.

    Raises:
        ValueError: if the image is not RGB.
    """
    _check_rgb(image)
    height, width = image.shape[-3:-1]
    channel = np.arange(height)[:, None] % 2 + np.arange(width) % 2
    return image * np.eye(3, dtype=image.dtype)[channel]


def _check_rgb(images) -> None:
    if images.shape[-1] != 3:
        raise ValueError(f"A Bayer mosaic needs RGB images (..., 3), got {tuple(images.shape)}.")
