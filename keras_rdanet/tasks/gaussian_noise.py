"""Additive white Gaussian noise: for training pipelines and for the evaluation protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_rdanet.tasks.base import EvaluationOption, Task
from keras_rdanet.tasks.grain import check_grain, coarsen
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.ranges import (
    Range,
    WholeRange,
    check_option,
    check_range,
    draw,
    fixed,
    nearest,
)

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class GaussianNoise(Task):
    """White Gaussian noise for a training pipeline, a pure function of its seed.

    Args:
        sigma: Standard deviation in gray levels of 0-255; or a range
            `(low, high)`, from which every sample of a batch draws its own,
            uniformly (blind denoising).
        mean: Mean of the noise, in gray levels, for noise that also shifts the image.
        grain: Width of a grain of the noise in pixels, 1 to 8, or a range: the
            noise of a picture that was enlarged by that factor. See `coarsen`.
        jpeg_quality: Quality of a JPEG compression of the noisy image, see `JPEG`: an integer of
            1-100, a range, or `None` for no compression.

    Called with a float32 batch `(B, H, W, C)` in `[0, 1]` and a seed, two
    integers, it returns the noisy batch: same shape, float32, not clipped
    unless it is compressed.

    For scoring, it is the noise of the denoising papers: see `protocol_noise`;
    neither clipped nor rounded.

    Raises:
        ValueError: if a number is out of its range or a range is empty.

    Reference:
        The test code of TSP-RDANet, as of KAIR: float32 noise of NumPy's
        legacy generator, seeded afresh for every image, added to the 8-bit
        image. That code tiles every image and takes the first stage; here the
        image is restored whole, from the last.
    """

    sigma: Range
    mean: float = 0.0
    grain: Range = 1.0
    jpeg_quality: WholeRange | None = None

    name = "gaussian_noise"
    title = "additive white Gaussian noise"
    pairs_title = "noise pairs"
    is_noise = True
    chop_min_size = 6800
    # Pairs from files hold the noise of cameras, also where white noise was trained on.
    scored_pairs = "camera_noise"
    evaluation_options = (
        EvaluationOption(
            "sigma", "number", "standard deviation in gray levels of 0-255", low=0, many=True
        ),
        EvaluationOption("mean", "number", "mean of the noise, in gray levels"),
    )

    def __post_init__(self):
        check_option(self, "sigma", "a number of gray levels >= 0", low=0)
        check_range("mean", [self.mean], "a number of gray levels")
        check_grain(self)
        if self.jpeg_quality is not None:
            check_option(self, "jpeg_quality", "an integer of 1-100", 1, 100, whole=True)

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

    @property
    def level(self) -> dict[str, float]:
        """Sigma, and the mean if there is one."""
        sigma = {"sigma": fixed("sigma", self.sigma)}
        return {**sigma, "noise_mean": self.mean} if self.mean else sigma

    @property
    def noise_level(self) -> float | None:
        """Sigma, where white noise is all there is."""
        return fixed("sigma", self.sigma) if self._is_white() else None

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8 as float32 in `[0, 1]` with the noise, not clipped."""
        if not self._is_white():
            return super().degrade(clean, index)
        noise = protocol_noise(clean.shape, fixed("sigma", self.sigma))
        return clean.astype(np.float32) / np.float32(255) + (noise + np.float32(self.mean / 255))

    def describe(self) -> dict[str, Any]:
        """Say how the noise is made."""
        if not self._is_white():
            return super().describe()
        return {
            "seed": 0,
            "noise": "numpy.random.RandomState(seed) for every image, in order (H, W, C), float32",
            "degraded": "float32, not clipped, not rounded",
        }

    def scored(self) -> "GaussianNoise":
        """Return noise of sigma 25, or of the nearest sigma of the range."""
        return replace(self, sigma=nearest(self.sigma, 25))

    @classmethod
    def levels(cls, scale: int = 1, *, sigma: Range = (), mean: float = 0.0) -> list[Task]:
        """Return the task at each sigma; at 15, 25 and 50 if none is given."""
        del scale
        given = sigma if isinstance(sigma, Sequence) else [sigma]
        return [cls(s, mean=mean) for s in given or (15.0, 25.0, 50.0)]

    @classmethod
    def verification(cls, scale: int = 1) -> Task:
        """Return noise of sigma 25."""
        del scale
        return cls(25)

    @classmethod
    def calibration(cls, scale: int = 1) -> Task:
        """Return noise of sigma 0 to 50."""
        del scale
        return cls((0, 50))

    def _is_white(self) -> bool:
        return self.grain in (1, (1, 1)) and self.jpeg_quality is None


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
    that cannot be compared with published ones.

    Args:
        shape: `(H, W, C)` of the image.
        sigma: Standard deviation in gray levels of 0-255.
        seed: Seed of the generator; the papers use 0.

    Returns:
        Noise of that shape, float32, on the scale of images in `[0, 1]`.
    """
    noise = np.random.RandomState(seed).normal(0, sigma / 255, size=shape)
    return noise.astype(np.float32)
