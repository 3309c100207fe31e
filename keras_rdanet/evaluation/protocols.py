"""How an image is degraded, restored and scored, so that two scores can be compared.

A protocol turns a source of files into samples and says in words what it did;
its `Scoring` says how a restored image is compared with its target.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from keras_rdanet.data.sources import Source
from keras_rdanet.image.color import limited_luma, limited_luma_8bit, luma
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.image.resize import downsample, upsample
from keras_rdanet.metrics import psnr, psnr_b, ssim
from keras_rdanet.tasks.bayer_mosaic import mosaic
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from keras_rdanet.tasks.jpeg import compress
from keras_rdanet.tasks.super_resolution import SuperResolution as Downsampling

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Args:
        name: What reports call it.
        degraded: `(H, W, C)` float32, nominally in `[0, 1]`, not clipped.
        target: `(scale * H, scale * W, C)` uint8.
        converted: Whether colours were turned to gray or the reverse, because
            the network has other channels than the file.
    """

    name: str
    degraded: np.ndarray
    target: np.ndarray
    converted: bool = False

    @property
    def enlarged(self) -> np.ndarray:
        """The degraded image at the size of the target: bicubic where it is smaller."""
        scale = self.target.shape[0] // self.degraded.shape[0]
        return self.degraded if scale == 1 else upsample(self.degraded, scale)


class Score(NamedTuple):
    """PSNR in dB and SSIM of one image, and PSNR-B in dB where it is asked for."""

    psnr: float
    ssim: float
    psnr_b: float | None = None


@dataclass(frozen=True)
class Scoring:
    """How a restored image is compared with its target.

    Args:
        luma: What of an RGB image is compared: `"no"`: all channels;
            `"exact"`: Y of limited range, in floating point; `"rounded"`: that
            Y rounded to 8 bits. A gray image is compared as it is.
        crop_border: Pixels left out on every side.
        blocks: Whether gray images also get a PSNR-B, as JPEG papers report.
    """

    luma: Literal["no", "exact", "rounded"] = "no"
    crop_border: int = 0
    blocks: bool = False

    @property
    def limited_gray(self) -> bool:
        """Whether colours become gray by luma of limited range, as the papers that use it do."""
        return self.luma != "no" or self.blocks

    def __call__(self, restored: np.ndarray, target: np.ndarray) -> Score:
        """Score a float image.

        Args:
            restored: `(H, W, C)` float, nominally in `[0, 1]`.
            target: `(H, W, C)` uint8.

        Raises:
            ValueError: if `restored` is not finite, or the shapes differ.
        """
        if not np.isfinite(restored).all():
            raise ValueError("The restored image holds NaN or infinity.")
        a, b = self._compared(to_samples(restored, np.uint8)), self._compared(target)
        seams = psnr_b(a, b) if self.blocks and b.shape[-1] == 1 else None
        border = {"crop_border": self.crop_border}
        return Score(psnr(a, b, **border), ssim(a, b, **border), seams)

    def describe(self, channels: int) -> dict:
        """Say how images of so many channels are compared, for the report."""
        compared = "all pixels and channels of the uint8 images"
        if channels == 3 and self.luma != "no":
            compared = "the luma of the uint8 images, 16 + 65.481 R + 128.553 G + 24.966 B (BT.601)"
            compared += {"exact": ", not rounded", "rounded": ", rounded to uint8"}[self.luma]
        text = {
            "restored": "clipped to [0, 1], times 255, rounded half to even to uint8",
            "psnr": f"20 log10(255 / RMSE) in float64 over {compared}",
            "ssim": "Gaussian window 11x11, sigma 1.5, valid positions, biased variances, "
            "mean of channels",
        }
        if self.blocks and channels == 1:
            text["psnr_b"] = "PSNR that counts the seams of 8x8 blocks (Yim and Bovik, 2011)"
        return {**text, "crop_border": self.crop_border, "mean": "of the scores of the images"}

    def _compared(self, image: np.ndarray) -> np.ndarray:
        if self.luma == "no" or image.shape[-1] == 1:
            return image
        return limited_luma(image) if self.luma == "exact" else limited_luma_8bit(image)


score = Scoring()


class EvaluationProtocol(ABC):
    """What `evaluate` asks of a protocol.

    Attributes:
        name: What reports call it.
        paired: Whether it takes pairs of images, not clean ones.
        scale: By which a network has to enlarge the degraded images.
        scoring: How results are compared with targets.
        cells: Whether degraded images are a pattern of 2x2 pixels, which must
            neither be turned, by a self-ensemble, nor cut inside a cell.
        chop_min_size: For scores that were made by `inference.chop`.
    """

    name: str
    paired = False
    scale = 1
    scoring = Scoring()
    cells = False
    chop_min_size = 6400

    @abstractmethod
    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield the samples of a source for a network of 1 or 3 channels.

        Raises:
            ValueError: if an image cannot be used; the message names it.
        """

    @abstractmethod
    def describe(self, channels: int) -> dict:
        """Say what `samples` does and how it is scored, for the report."""


class _CleanImages(EvaluationProtocol):
    """Protocols that degrade clean images."""

    def prepare(self, clean: np.ndarray) -> np.ndarray:
        """Return the target that is made of a clean image `(H, W, C)` uint8: itself."""
        return clean

    @abstractmethod
    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8, the image of that number, as degraded float32."""

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every image of a source of clean images, degraded."""
        for index in range(min(len(source), limit or len(source))):
            (clean,) = source.read(index)
            target = self.prepare(
                _load(clean, channels, source.name(index), self.scoring.limited_gray)
            )
            yield Sample(
                name=Path(source.name(index)).name,
                degraded=self.degrade(target, index),
                target=target,
                converted=clean.shape[-1] != channels,
            )


@dataclass(frozen=True)
class GaussianNoise(_CleanImages):
    """Additive white Gaussian noise, as the denoising papers measure.

    Args:
        sigma: Standard deviation in gray levels of 0-255.
        seed: Of the noise, the same for every image.
        mean: In the same gray levels; not of the papers.

    Reference:
        The test code of TSP-RDANet, as of KAIR: float32 noise of NumPy's
        legacy generator, seeded afresh for every image, added to the 8-bit
        image and neither clipped nor rounded. That code tiles every image and
        takes the first stage; here the image is restored whole, from the last.
    """

    sigma: float
    seed: int = 0
    mean: float = 0.0

    name = "additive white Gaussian noise"
    chop_min_size = 6800

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8 as float32 on `[0, 1]` with the noise, not clipped."""
        del index
        noise = protocol_noise(clean.shape, self.sigma, self.seed) + np.float32(self.mean / 255)
        return clean.astype(np.float32) / np.float32(255) + noise

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and how the noise is made."""
        return {
            "name": self.name,
            "sigma": self.sigma,
            **({"noise_mean": self.mean} if self.mean else {}),
            "seed": self.seed,
            "noise": "numpy.random.RandomState(seed) for every image, in order (H, W, C), float32",
            "degraded": "float32, not clipped, not rounded",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class JPEG(_CleanImages):
    """JPEG compression by a real encoder, as the papers on its artefacts measure.

    Gray networks get Y, of limited range where the file has colours, and are
    also scored by PSNR-B; RGB networks get the decoded colours. On Classic5
    the degraded images score 27.82, 30.12, 31.48 and 32.43 dB at quality 10,
    20, 30 and 40, as in the PANet paper.

    Args:
        quality: 1-100, as libjpeg counts.
    """

    quality: int

    name = "JPEG compression"
    scoring = Scoring(blocks=True)

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8 encoded and decoded, float32 on `[0, 1]`."""
        del index
        return compress(to_float(clean), self.quality)

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and compressed."""
        return {
            "name": self.name,
            "quality": self.quality,
            "degraded": "encoded and decoded by OpenCV's libjpeg, accurate DCT"
            + (", chroma 4:2:0" if channels == 3 else ""),
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class BayerMosaic(_CleanImages):
    """Demosaicking: two of three colours of every pixel are missing, and zero.

    RGGB from the top left of every image. CBSD68 scores 8.43 dB so degraded,
    as in the PANet paper.
    """

    name = "Bayer mosaic"
    cells = True

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return the mosaic of `(H, W, 3)` uint8, float32 on `[0, 1]`."""
        del index
        return mosaic(to_float(clean))

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and mosaicked."""
        return {
            "name": self.name,
            "degraded": "RGGB from the top left, zeros for the missing samples, float32; "
            "odd sides are reflected to even ones",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class SuperResolution(_CleanImages):
    """Small images to be enlarged, as the super-resolution papers measure.

    Args:
        scale: 2, 3 or 4.

    Reference:
        The PANet paper's evaluation, which is that of EDSR: bicubic RGB
        images of 8 bits in, scores on Y without a border of `scale` pixels.
        MATLAB also rounds between its two axes.

    Raises:
        ValueError: if the scale is another.
    """

    scale: int

    name = "bicubic super-resolution"

    def __post_init__(self):
        Downsampling(self.scale)  # refuses what is no scale

    @property
    def scoring(self) -> Scoring:  # type: ignore[override]
        """On Y, without a border of `scale` pixels."""
        return Scoring("exact", crop_border=self.scale)

    def prepare(self, clean: np.ndarray) -> np.ndarray:
        """Return the image, cut at the right and the bottom to multiples of the scale."""
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        return clean[:height, :width]

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return the small image of `(H, W, C)` uint8, float32 on `[0, 1]`."""
        del index
        return to_float(to_samples(downsample(to_float(clean), self.scale), np.uint8))

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and made smaller."""
        return {
            "name": self.name,
            "scale": self.scale,
            "target": "cut at the right and the bottom to multiples of the scale",
            "degraded": "MATLAB's antialiased bicubic imresize, clipped and rounded to uint8",
            "input": "enlarged by MATLAB's bicubic imresize to be scored",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class Synthetic(_CleanImages):
    """A random degradation of the training pipeline, the same in every run.

    Args:
        name: What reports call it.
        degradation: Maps a float32 batch and a seed, two integers, to the
            degraded batch; see `keras_rdanet.degradations`. Needs TensorFlow.
        seed: With the number of the image, the seed of its degradation.
        scoring: See `Scoring`.
    """

    name: str
    degradation: Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]
    seed: int = 0
    scoring: Scoring = Scoring()

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8 degraded and rounded to 8 bits, float32 on `[0, 1]`."""
        import tensorflow as tf

        degraded = self.degradation(tf.constant(to_float(clean)[None]), (self.seed, index))
        return to_float(to_samples(degraded.numpy()[0], np.uint8))

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and degraded."""
        return {
            "name": self.name,
            "degradation": repr(self.degradation),
            "seed": f"{self.seed} and the number of the image",
            "degraded": "clipped and rounded to uint8",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class RealPairs(EvaluationProtocol):
    """Degraded images in files and their clean partners, both 8 bits deep.

    Args:
        name: What reports call it.
        scale: How much larger the clean images are.
        scoring: See `Scoring`.
        cells: See `EvaluationProtocol`.
    """

    name: str = "real pairs"
    scale: int = 1
    scoring: Scoring = Scoring()
    cells: bool = False

    paired = True

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every pair of a paired source."""
        limited = self.scoring.limited_gray
        for index in range(min(len(source), limit or len(source))):
            degraded, clean = source.read(index)
            name = source.name(index)
            target = _load(clean, channels, name, limited)
            loaded = to_float(_load(degraded, channels, name, limited))
            if target.shape[:2] != tuple(self.scale * side for side in loaded.shape[:2]):
                raise ValueError(
                    f"{name} is {_times(degraded)} and its partner {_times(clean)} pixels, "
                    f"which is not {self.scale} times as large."
                )
            yield Sample(Path(name).name, loaded, target, clean.shape[-1] != channels)

    def describe(self, channels: int) -> dict:
        """Say how pairs are loaded."""
        return {
            "name": self.name,
            **({"scale": self.scale} if self.scale > 1 else {}),
            "degraded": "uint8 / 255 in float32",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


def _load(samples: np.ndarray, channels: int, name: str, limited: bool) -> np.ndarray:
    """Give an 8-bit image the channels of the network."""
    if samples.dtype != np.uint8:
        raise ValueError(
            f"{name} has {samples.dtype} samples; the protocol scores 8-bit images, "
            "so convert a copy to 8 bits."
        )
    if samples.shape[-1] == channels:
        return samples
    if channels == 3:
        return np.repeat(samples, 3, axis=-1)
    return limited_luma_8bit(samples) if limited else luma(samples)


def _describe_color(channels: int, scoring: Scoring) -> str:
    if channels == 1 and scoring.limited_gray:
        return "gray; colour files by limited-range BT.601 luma (MATLAB), rounded to uint8"
    if channels == 1:
        return "gray; colour files by full-range BT.601 luma (OpenCV)"
    return "RGB; the value of gray files three times"


def _times(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
