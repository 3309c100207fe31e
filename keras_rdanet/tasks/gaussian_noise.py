"""Additive white Gaussian noise: for training pipelines and for the evaluation protocol."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_rdanet.tasks.grain import check_grain, coarsen
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.ranges import Range, WholeRange, check_range, draw

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise for a training pipeline, a pure function of its seed.

    Args:
        sigma: Standard deviation in gray levels of 0-255; or a range
            `(low, high)`, from which every sample of a batch draws its own,
            uniformly (blind denoising).
        mean: Mean of the noise, in gray levels, for noise that also shifts the image.
        grain: Width of a grain of the noise in pixels, 1 to 8, or a range: the
            noise of a picture that was enlarged by that factor. See `coarsen`.
        jpeg_quality: Compress the noisy image; an integer of 1-100, a range, or
            `None` for no compression. See `JPEG`.

    Called with a float32 batch `(B, H, W, C)` in `[0, 1]` and a seed, two
    integers, it returns the noisy batch: same shape, float32, not clipped
    unless it is compressed.

    Raises:
        ValueError: if a number is out of its range or a range is empty.
    """

    sigma: Range
    mean: float = 0.0
    grain: Range = 1.0
    jpeg_quality: WholeRange | None = None

    def __post_init__(self):
        check_range("sigma", self.sigma, "a number of gray levels >= 0", low=0)
        check_grain(self.grain)
        if self.jpeg_quality is not None:
            JPEG(self.jpeg_quality)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the noisy batch of `target`."""
        import tensorflow as tf

        level_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
        sigma = draw(self.sigma, target, level_seed)
        shifted = target + self.mean / 255
        noise = add_gaussian_noise(tf.zeros_like(target), sigma, noise_seed)
        degraded = shifted + coarsen(noise, self.grain, tf.random.fold_in(seed, 0))
        if self.jpeg_quality is None:
            return degraded
        return JPEG(self.jpeg_quality)(degraded, tf.random.fold_in(seed, 1))


def add_gaussian_noise(images: "tf.Tensor", sigma, seed) -> "tf.Tensor":
    """Add white Gaussian noise, the same for the same seed.

    Args:
        images: `(B, H, W, C)` float32, in `[0, 1]`.
        sigma: Standard deviation in gray levels of 0-255, a number or `(B,)`.
        seed: Two integers.

    Returns:
        The noisy images, same shape, float32, not clipped.
    """
    import tensorflow as tf

    deviation = tf.reshape(tf.cast(sigma, tf.float32) / 255, (-1, 1, 1, 1))
    return images + deviation * tf.random.stateless_normal(tf.shape(images), seed)


def protocol_noise(shape: tuple[int, ...], sigma: float, seed: int = 0) -> np.ndarray:
    """Draw the noise of the evaluation protocol of the denoising papers.

    NumPy's legacy generator, seeded afresh for every image, draws float64 in
    the order height, width, channel; other generators or orders give scores
    that compare with nobody's.

    Args:
        shape: `(H, W, C)` of the image.
        sigma: Standard deviation in gray levels of 0-255.
        seed: Of the generator; the papers use 0.

    Returns:
        Noise of that shape, float32, on the scale of images in `[0, 1]`.
    """
    noise = np.random.RandomState(seed).normal(0, sigma / 255, size=shape)
    return noise.astype(np.float32)
