"""Colour: full-range BT.601 luma."""

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
