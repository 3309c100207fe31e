"""PSNR and SSIM in float64 NumPy, as published tables compute them.

`PSNR`, the metric for `model.fit`, is imported on first use, so that scoring
an exported file needs no Keras.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5


def __getattr__(name):
    if name != "PSNR":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_rdanet.keras_metrics import PSNR

    return PSNR


def psnr(restored, target, max_val: float = 255, crop_border: int = 0) -> float:
    """Return the peak signal-to-noise ratio in dB, `inf` for equal images.

    Args:
        restored: `(H, W)` or `(H, W, C)`, any real dtype; it is neither
            clipped nor rounded, so do that first if the protocol says so.
        target: The ground truth, of the same shape.
        max_val: Value of white: `255` for 8-bit values, `1` for floats in `[0, 1]`.
        crop_border: Number of pixels left out on every side.

    The squared error is the mean over all pixels and channels.

    Raises:
        ValueError: if the shapes differ, or nothing is left after the crop.
    """
    restored, target = _prepare(restored, target, crop_border)
    error = np.mean((restored - target) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(max_val**2 / error))


def ssim(restored, target, max_val: float = 255, crop_border: int = 0) -> float:
    """Return the structural similarity, the mean over positions and channels.

    Args and Raises as in `psnr`; after the crop an image must be at least as
    large as the window.

    Reference:
        Wang et al., Image Quality Assessment: From Error Visibility to
        Structural Similarity, 2004, equation 13: Gaussian window 11x11 with
        sigma 1.5, weighted (biased) variances, K1 = 0.01, K2 = 0.03, and only
        positions where the window fits. For color it is the mean of the channels.
    """
    restored, target = _prepare(restored, target, crop_border)
    if min(restored.shape[:2]) < WINDOW_SIZE:
        raise ValueError(
            f"SSIM needs at least {WINDOW_SIZE}x{WINDOW_SIZE} pixels, "
            f"got {restored.shape[0]}x{restored.shape[1]}."
        )
    mean_a, mean_b = _blur(restored), _blur(target)
    variance_a = _blur(restored**2) - mean_a**2
    variance_b = _blur(target**2) - mean_b**2
    covariance = _blur(restored * target) - mean_a * mean_b
    c1, c2 = (0.01 * max_val) ** 2, (0.03 * max_val) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())


def psnr_b(restored, target, max_val: float = 255, block: int = 8) -> float:
    """Return PSNR-B in dB: a PSNR that also counts the seams between JPEG's blocks.

    Args:
        restored: `(H, W)` or `(H, W, 1)`; the blocks start at its top left.
        target: The ground truth, of the same shape.
        max_val: Value of white.
        block: Side of the blocks in pixels.

    Raises:
        ValueError: if the shapes differ, the images have several channels, or a side
            is not longer than a block.

    Reference:
        Yim and Bovik, Quality assessment of deblocked images, 2011, section
        III, for blocks of one size. If the mean squared step between
        neighbours is larger across seams than within blocks, the difference
        times log(block) / log(shorter side) is added to the mean squared error.
    """
    restored, target = _prepare(restored, target, 0)
    height, width = restored.shape[:2]
    if restored.size != height * width or min(height, width) <= block:
        raise ValueError(
            f"PSNR-B needs one channel and more than {block}x{block} pixels, got {restored.shape}."
        )
    image = restored.reshape(height, width)
    rows, columns = np.diff(image, axis=0) ** 2, np.diff(image, axis=1) ** 2
    row_seams = np.arange(1, height) % block == 0
    column_seams = np.arange(1, width) % block == 0
    across = np.concatenate([rows[row_seams].ravel(), columns[:, column_seams].ravel()]).mean()
    within = np.concatenate([rows[~row_seams].ravel(), columns[:, ~column_seams].ravel()]).mean()
    excess = max(across - within, 0) * np.log(block) / np.log(min(height, width))
    error = np.mean((restored - target) ** 2) + excess
    return float("inf") if error == 0 else float(10 * np.log10(max_val**2 / error))


def _prepare(restored, target, crop_border):
    restored, target = np.asarray(restored, np.float64), np.asarray(target, np.float64)
    if restored.shape != target.shape or restored.ndim not in (2, 3):
        raise ValueError(
            "The images must be (H, W) or (H, W, C) and of one shape, "
            f"got {restored.shape} and {target.shape}."
        )
    height, width = restored.shape[:2]
    if not 0 <= 2 * crop_border < min(height, width):
        raise ValueError(f"`crop_border` {crop_border} leaves nothing of {height}x{width} pixels.")
    inside = np.s_[crop_border : height - crop_border, crop_border : width - crop_border]
    return restored[inside], target[inside]


def _blur(image):
    """Weight the rows, then the columns, with the Gaussian; valid positions only."""
    offsets = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
    window = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    window /= window.sum()
    rows = sliding_window_view(image, WINDOW_SIZE, axis=0) @ window
    return sliding_window_view(rows, WINDOW_SIZE, axis=1) @ window
