"""Bayer mosaics as a demosaicking network takes them: three colours, RGGB from the top left."""

import numpy as np

from keras_rdanet.tasks.bayer_mosaic import mosaic

# What a sensor's first two rows and columns record -> the rows and columns in
# front of which the same sensor would start with R G over G B.
PATTERNS = {"rggb": (0, 0), "grbg": (0, 1), "gbrg": (1, 0), "bggr": (1, 1)}


def check_pattern(pattern: str) -> None:
    """Raise a `ValueError` unless `pattern` is one of `PATTERNS`."""
    if pattern not in PATTERNS:
        raise ValueError(f"`mosaic` must be one of {', '.join(PATTERNS)}, got {pattern!r}.")


def from_rggb(samples: np.ndarray, pattern: str) -> np.ndarray:
    """Put a row and a column in front of a mosaic where it needs them to start with RGGB.

    They are reflections, which continue the pattern.

    Args:
        samples: `(H, W, C)`, at least two pixels high and wide.
        pattern: Pattern of the samples, one of `PATTERNS`.

    Raises:
        ValueError: if there are not even two rows and columns.
    """
    if min(samples.shape[:2]) < 2:
        raise ValueError(f"A mosaic has at least 2x2 pixels, got {_times(samples)}.")
    top, left = PATTERNS[pattern]
    return np.pad(samples, ((top, 0), (left, 0), (0, 0)), mode="reflect")


def spread(samples: np.ndarray) -> np.ndarray:
    """Give each sample of an RGGB mosaic to its colour, and zero to the others.

    Args:
        samples: `(H, W, 1)`, or `(H, W, 3)`, of which only the samples that
            the sensor takes are looked at.

    Returns:
        `(H, W, 3)`, same dtype.
    """
    return mosaic(np.broadcast_to(samples, (*samples.shape[:2], 3)))


def _times(image):
    return f"{image.shape[1]}x{image.shape[0]}"
