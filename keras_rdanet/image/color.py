"""Colour: BT.601 luma, of full range and of the limited range that scores are taken on."""

import cv2
import numpy as np


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return the BT.601 luma, `0.299 R + 0.587 G + 0.114 B`.

    This is OpenCV's `COLOR_RGB2GRAY` itself. Its `IMREAD_GRAYSCALE` uses the
    arithmetic of each decoder and is up to one gray level away (half of the
    pixels of a PNG, 0.3 % of a BMP, on random colours with OpenCV 5.0).
    Fixed-point weights leave uint8 within 0.51 of a level, uint16 within 1.5.

    Args:
        rgb: `(..., W, 3)` uint8, uint16 or float32.

    Returns:
        `(..., W, 1)`, same dtype and range.

    Raises:
        ValueError: if `rgb` has not three channels or another dtype.
    """
    if rgb.ndim < 2 or rgb.shape[-1] != 3 or rgb.dtype.name not in ("uint8", "uint16", "float32"):
        raise ValueError(
            f"`rgb` must be (..., W, 3) uint8, uint16 or float32, got {rgb.shape} {rgb.dtype}"
        )
    rows = np.ascontiguousarray(rgb).reshape(-1, rgb.shape[-2], 3)
    return cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).reshape(*rgb.shape[:-1], 1)


def limited_luma(rgb: np.ndarray) -> np.ndarray:
    """Return the BT.601 luma of limited range, MATLAB's `rgb2ycbcr` of `double` images.

    `16 + 65.481 R + 128.553 G + 24.966 B` with `R`, `G` and `B` in `[0, 1]`. For
    `uint8` images MATLAB rounds: `limited_luma_8bit`.

    Args:
        rgb: `(..., 3)` uint8.

    Returns:
        `(..., 1)` float64 from 16 to 235.

    Raises:
        ValueError: if `rgb` has not three channels or another dtype.
    """
    if rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"`rgb` must be (..., 3) uint8, got {rgb.shape} {rgb.dtype}.")
    return 16 + rgb @ np.array([[65.481], [128.553], [24.966]]) / 255


def limited_luma_8bit(rgb: np.ndarray) -> np.ndarray:
    """Return `limited_luma` rounded to uint8, halves up, as MATLAB for `uint8` images."""
    return np.floor(limited_luma(rgb) + 0.5).astype(np.uint8)
