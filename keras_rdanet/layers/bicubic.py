"""Bicubic resize as products with one matrix an axis: exact, and differentiable."""

import numpy as np
from keras import ops

RESIZE_MODES = ("scale_factor", "size_ratio")
# Parameter of the cubic kernel; TensorFlow's own bicubic resize has -0.5.
A = -0.75


def bicubic_resize(images, scale, mode):
    """Shrink images as PyTorch's `interpolate(mode="bicubic")` does: no antialiasing.

    Args:
        images: `(B, H, W, C)`; on TensorFlow `H` and `W` may be unknown until
            the graph runs.
        scale: Factor of the size, at most 1; the result has `floor(H * scale)` rows and
            `floor(W * scale)` columns, the products in double precision.
        mode: `"scale_factor"`: output pixels lie `1 / scale` input pixels
            apart; `"size_ratio"`: input size over output size, as PyTorch
            before 1.6 had it.

    Returns:
        `(B, H', W', C)`, the dtype of `images`; computed in float32.
    """
    height, width = ops.shape(images)[1:3]
    rows = ops.cast(bicubic_matrix(height, scale, mode), "float32")
    columns = ops.cast(bicubic_matrix(width, scale, mode), "float32")
    resized = ops.einsum("ph,bhwc->bpwc", rows, ops.cast(images, "float32"))
    resized = ops.einsum("qw,bpwc->bpqc", columns, resized)
    return ops.cast(resized, images.dtype)


def bicubic_matrix(size, scale, mode):
    """The matrix that resizes an axis: `(floor(size * scale), size)`, float64.

    A NumPy array if `size` is a number; a tensor if `size` is one, which
    only TensorFlow has. Pixels outside repeat the border.
    """
    xp = np if isinstance(size, int) else ops
    size = np.float64(size) if isinstance(size, int) else ops.cast(size, "float64")
    length = xp.floor(size * scale)
    step = 1 / scale if mode == "scale_factor" else size / length
    position = (xp.arange(length, dtype="float64") + 0.5) * step - 0.5
    first = xp.floor(position)
    t = position - first
    columns = xp.arange(size, dtype="float64")
    matrix = 0
    for tap, weight in ((-1, _far(1 + t)), (0, _near(t)), (1, _near(1 - t)), (2, _far(2 - t))):
        index = xp.clip(first + tap, 0, size - 1)
        matrix = matrix + xp.where(index[:, None] == columns, weight[:, None], xp.zeros_like(size))
    return matrix


def _near(t):
    """The cubic kernel at distances up to 1."""
    return (A + 2) * t**3 - (A + 3) * t**2 + 1


def _far(t):
    """The cubic kernel at distances from 1 to 2."""
    return A * t**3 - 5 * A * t**2 + 8 * A * t - 4 * A
