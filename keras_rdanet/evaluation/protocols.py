"""How an image is degraded, restored and scored, so that two scores can be compared.

A protocol turns a source of files into samples and says in words what it did;
`score` is the same for all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from keras_rdanet.data.sources import Source
from keras_rdanet.degradations.noise import protocol_noise
from keras_rdanet.image.color import luma
from keras_rdanet.image.io import to_samples
from keras_rdanet.metrics import psnr, ssim

SCORING = {
    "restored": "clipped to [0, 1], times 255, rounded half to even to uint8",
    "psnr": "20 log10(255 / RMSE) in float64 over all pixels and channels of the uint8 images",
    "ssim": "Gaussian window 11x11, sigma 1.5, valid positions, biased variances, mean of channels",
    "crop_border": 0,
    "mean": "of the scores of the images",
}


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Args:
        name: What reports call it.
        degraded: `(H, W, C)` float32, nominally in `[0, 1]`, not clipped.
        target: `(H, W, C)` uint8.
        converted: Whether colours were turned to gray or the reverse, because
            the network has other channels than the file.
    """

    name: str
    degraded: np.ndarray
    target: np.ndarray
    converted: bool = False


class EvaluationProtocol(Protocol):
    """What `evaluate` asks of a protocol."""

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield the samples of a source for a network of 1 or 3 channels."""

    def describe(self, channels: int) -> dict:
        """Say what `samples` does, for the report."""


@dataclass(frozen=True)
class GaussianNoise:
    """Additive white Gaussian noise, as the denoising papers measure.

    Args:
        sigma: Standard deviation in gray levels of 0-255.
        seed: Of the noise, the same for every image.

    Reference:
        The test code of TSP-RDANet, as of KAIR: float32 noise of NumPy's
        legacy generator, seeded afresh for every image, added to the 8-bit
        image and neither clipped nor rounded. That code tiles every image and
        takes the first stage; here the image is restored whole, from the last.
    """

    sigma: float
    seed: int = 0

    def degrade(self, clean: np.ndarray) -> np.ndarray:
        """Return `(H, W, C)` uint8 as float32 on `[0, 1]` with the noise, not clipped."""
        return clean.astype(np.float32) / np.float32(255) + protocol_noise(
            clean.shape, self.sigma, self.seed
        )

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every image of a source of clean images, with its noise."""
        for index in range(min(len(source), limit or len(source))):
            (clean,) = source.read(index)
            target = _load(clean, channels, source.name(index))
            yield Sample(
                name=Path(source.name(index)).name,
                degraded=self.degrade(target),
                target=target,
                converted=clean.shape[-1] != channels,
            )

    def describe(self, channels: int) -> dict:
        """Say how images are loaded and how the noise is made."""
        return {
            "name": "additive white Gaussian noise",
            "sigma": self.sigma,
            "seed": self.seed,
            "noise": "numpy.random.RandomState(seed) for every image, in order (H, W, C), float32",
            "degraded": "float32, not clipped, not rounded",
            "color": _describe_color(channels),
            **SCORING,
        }


@dataclass(frozen=True)
class RealPairs:
    """Photographs with their camera noise, and their clean partners, both 8 bits deep."""

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every pair of a paired source."""
        for index in range(min(len(source), limit or len(source))):
            noisy, clean = source.read(index)
            degraded = _load(noisy, channels, source.name(index))
            yield Sample(
                name=Path(source.name(index)).name,
                degraded=degraded.astype(np.float32) / np.float32(255),
                target=_load(clean, channels, source.name(index)),
                converted=clean.shape[-1] != channels,
            )

    def describe(self, channels: int) -> dict:
        """Say how pairs are loaded."""
        return {
            "name": "real pairs",
            "degraded": "uint8 / 255 in float32",
            "color": _describe_color(channels),
            **SCORING,
        }


class Score(NamedTuple):
    """PSNR in dB and SSIM of one image."""

    psnr: float
    ssim: float


def score(restored: np.ndarray, target: np.ndarray) -> Score:
    """Score a float image against its target, as `SCORING` says.

    Args:
        restored: `(H, W, C)` float, nominally in `[0, 1]`.
        target: `(H, W, C)` uint8.

    Raises:
        ValueError: if `restored` is not finite, or the shapes differ.
    """
    if not np.isfinite(restored).all():
        raise ValueError("The restored image holds NaN or infinity.")
    rounded = to_samples(restored, np.uint8)
    return Score(psnr(rounded, target), ssim(rounded, target))


def four_tiles(
    function: Callable[[np.ndarray], np.ndarray], images: np.ndarray, refield: int = 64
) -> np.ndarray:
    """Restore the four corners apart and join them, as the original test code does.

    Only for comparing with scores measured that way: the tiles meet in a hard
    seam that can lie a pixel from a tile's edge.

    Args:
        function: Maps `(N, h, w, C)` to the same shape.
        images: `(N, H, W, C)`.
        refield: A tile is the next multiple of this beyond half of the image.

    Raises:
        ValueError: if a side is shorter than its tile.
    """
    height, width = images.shape[1:3]
    tile_height, tile_width = ((side // 2 // refield + 1) * refield for side in (height, width))
    if height < tile_height or width < tile_width:
        raise ValueError(
            f"Four tiles with refield {refield} need sides of at least {refield} pixels, "
            f"got {height}x{width}; restore this image whole."
        )
    restored = np.empty_like(images)
    for top, rows in ((0, slice(0, height // 2)), (height - tile_height, slice(height // 2, None))):
        for left, columns in (
            (0, slice(0, width // 2)),
            (width - tile_width, slice(width // 2, None)),
        ):
            tile = function(images[:, top : top + tile_height, left : left + tile_width])
            y, x = rows.start - top, columns.start - left
            part = restored[:, rows, columns]
            part[:] = tile[:, y : y + part.shape[1], x : x + part.shape[2]]
    return restored


def _load(samples: np.ndarray, channels: int, name: str) -> np.ndarray:
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
    return luma(samples)


def _describe_color(channels: int) -> str:
    if channels == 1:
        return "gray; colour files by full-range BT.601 luma (OpenCV)"
    return "RGB; the value of gray files three times"
