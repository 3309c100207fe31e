"""Estimating the noise of a picture from the picture alone."""

import numpy as np

from keras_rdanet.image.io import to_float

BLOCK = 16
# Pictures beyond this are judged by evenly spaced strips of them.
MAX_PIXELS = 4_000_000


def estimate_sigma(samples: np.ndarray) -> float:
    """Estimate the standard deviation of the noise, taking it for white and Gaussian.

    A second difference in both directions removes all but noise and fine
    texture; its median absolute deviation is taken over the 5 % of blocks that
    are the smoothest in the low frequencies, leaving out blocks with saturated
    samples. Within 10 % for sigma 5 to 50 on most photographs; fine texture
    without a smooth spot (grass) is taken for noise below sigma 15 or so, and
    noise that a JPEG encoder or a camera has smoothed comes out too low.

    Args:
        samples: `(H, W, C)`, uint8, uint16 or float in `[0, 1]`, at least 4x4 pixels.

    Returns:
        Sigma in gray levels of 0-255.

    Raises:
        ValueError: if the picture is too small.

    Reference:
        The difference is Immerkaer's, Fast noise variance estimation, 1996;
        median and choice of blocks are our addition.
    """
    height, width = samples.shape[:2]
    if min(height, width) < 4:
        raise ValueError(
            f"The noise of a picture of {height}x{width} pixels cannot be estimated; "
            "4x4 is the least."
        )
    block = min(BLOCK, height - 2, width - 2)
    tops = range(0, height - block - 1, block)
    tops = tops[:: -(-height * width // MAX_PIXELS)]
    strips = [_blocks(samples[top : top + block + 2], block) for top in tops]
    noise, low_variance, saturated = (np.concatenate(part) for part in zip(*strips, strict=True))
    usable = saturated <= max(0.02, np.quantile(saturated, 0.05))
    noise, low_variance = noise[usable], low_variance[usable]
    count = max(8, len(noise) // 20)
    smoothest = np.argsort(low_variance, kind="stable")[:count]
    # 0.6745: the median absolute deviation of a unit Gaussian.
    return float(255 * np.median(np.abs(noise[smoothest])) / 0.6745)


def _blocks(strip, block):
    """The high-pass of each block and channel, its low-pass variance, its saturated share."""
    values = to_float(strip)
    high = _separable(values, (1, -2, 1)) / 6
    low = _separable(values, (1, 2, 1)) / 16
    integer = np.issubdtype(strip.dtype, np.integer)
    saturated = integer & ((values <= 0) | (values >= 1))[1:-1, 1:-1]
    columns = high.shape[1] // block

    def split(part):
        part = part[:, : columns * block].reshape(block, columns, block, -1)
        return part.transpose(1, 3, 0, 2).reshape(-1, block * block)

    return split(high), split(low).var(axis=1), split(saturated).mean(axis=1)


def _separable(values, kernel):
    a, b, c = kernel
    rows = a * values[:-2] + b * values[1:-1] + c * values[2:]
    return a * rows[:, :-2] + b * rows[:, 1:-1] + c * rows[:, 2:]
