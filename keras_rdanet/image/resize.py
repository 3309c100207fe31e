"""Bicubic downsampling, and enlarging, as MATLAB's `imresize` does it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_A = -0.5  # of the cubic kernel
_SCALES = (2, 3, 4)


def downsample(image: np.ndarray, scale: int) -> np.ndarray:
    """Shrink an image as `imresize(image, 1 / scale, "bicubic")` does for `double`.

    The cubic kernel (a = -0.5) is widened by the scale, so that it also
    removes what the small image cannot hold; borders are mirrored, the border
    pixel included. For `uint8`, `imresize` also rounds after each axis.

    Args:
        image: `(H, W, C)` float; height and width are multiples of the scale.
        scale: 2, 3 or 4.

    Returns:
        `(H/scale, W/scale, C)`, same dtype, computed in float64, not clipped.

    Raises:
        ValueError: if the scale is another, or does not divide height and width.
    """
    check_scale(scale)
    check_size(image.shape[:2], scale)
    rows = shrink(image.astype(np.float64), scale, 0, np.take)
    return shrink(rows, scale, 1, np.take).astype(image.dtype)


def upsample(image: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge an image as `imresize(image, scale, "bicubic")` does for `double`.

    Args:
        image: `(H, W, C)` float.
        scale: 2, 3 or 4.

    Returns:
        `(scale * H, scale * W, C)`, same dtype, not clipped; borders as in `downsample`.

    Raises:
        ValueError: if the scale is another.
    """
    check_scale(scale)
    return _grow(_grow(image, scale, 0), scale, 1)


def bicubic_taps(scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels make a pixel of the small image, and their weights.

    Returns:
        Offsets from the first pixel of the `scale` pixels that the small one
        covers, int64, and float64 weights whose sum is one, both `(taps,)`.
    """
    center = (scale - 1) / 2
    offsets = np.arange(-2 * scale, 3 * scale)
    weights = _cubic((offsets - center) / scale)
    used = weights != 0
    return offsets[used], weights[used] / weights.sum()


def _cubic(distance: np.ndarray) -> np.ndarray:
    t = np.abs(distance)
    near = (_A + 2) * t**3 - (_A + 3) * t**2 + 1
    far = _A * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def shrink(images: Any, scale: int, axis: int, take: Callable) -> Any:
    """Shrink one axis of an array or a tensor, whose library's `take` is given."""
    size = images.shape[axis]
    starts = np.arange(0, size, scale)
    offsets, weights = bicubic_taps(scale)
    taps = zip(offsets, weights.tolist(), strict=True)
    return sum(w * take(images, _mirrored(starts + o, size), axis=axis) for o, w in taps)


def _grow(image: np.ndarray, scale: int, axis: int) -> np.ndarray:
    """Enlarge one axis; pixels whose places between the old ones are alike have like weights."""
    size = image.shape[axis]
    shape = [length * scale if i == axis else length for i, length in enumerate(image.shape)]
    phases = []
    for phase in range(scale):
        position = (phase + 0.5) / scale - 0.5
        offsets = math.floor(position) + np.arange(-1, 3)
        taps = zip(offsets, _cubic(position - offsets).tolist(), strict=True)
        indices = ((_mirrored(np.arange(size) + o, size), w) for o, w in taps)
        phases.append(sum(w * np.take(image, index, axis) for index, w in indices))
    return np.stack(phases, axis + 1).reshape(shape)


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    folded = index % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)


def check_scale(scale) -> None:
    """Raise a `ValueError` unless `scale` is 2, 3 or 4."""
    if scale not in _SCALES:
        raise ValueError(f"`scale` must be 2, 3 or 4, got {scale!r}.")


def check_size(size, scale: int) -> None:
    """Raise a `ValueError` unless height and width are known and multiples of `scale`."""
    height, width = size
    if height is None or width is None:
        raise ValueError("Downsampling needs to know height and width when it is traced.")
    if height % scale or width % scale:
        raise ValueError(
            f"{width}x{height} pixels cannot be downsampled by {scale}; "
            f"crop height and width to multiples of {scale}."
        )
