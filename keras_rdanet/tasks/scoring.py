"""How a restored image is compared with its target."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from keras_rdanet.image.color import limited_luma, limited_luma_8bit
from keras_rdanet.image.io import to_samples
from keras_rdanet.image.resize import upsample
from keras_rdanet.metrics import psnr, psnr_b, ssim


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Args:
        name: Name of the file.
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
        luma: Part of an RGB image that is compared: `"no"`: all channels; `"exact"`: Y of limited
            range, in floating point; `"rounded"`: that Y rounded to 8 bits. A gray image is
            compared directly.
        crop_border: Number of pixels left out on every side.
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
