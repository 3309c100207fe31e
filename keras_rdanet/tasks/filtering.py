"""Filtering every image of a batch with a kernel of its own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def filter_each(images: "tf.Tensor", kernels: "tf.Tensor") -> "tf.Tensor":
    """Filter every image with its own kernel.

    Args:
        images: `(B, H, W, C)` float32.
        kernels: `(B, K, K)` float32, `K` odd and known.

    Returns:
        The filtered images, of the same shape. Borders are mirrored, the border
        pixel included.

    Raises:
        ValueError: if half a kernel is larger than the images.
    """
    import tensorflow as tf

    size, radius = kernels.shape[1], kernels.shape[1] // 2
    sides = [side for side in images.shape[1:3] if side is not None]
    if any(side < radius for side in sides):
        raise ValueError(
            f"Kernels of {size}x{size} pixels are too large for images of "
            f"{images.shape[2]}x{images.shape[1]}; take larger patches or shorter paths."
        )
    batch, height, width, channels = tf.unstack(tf.shape(images))
    padded = tf.pad(images, [[0, 0], [radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")
    # One image whose channels are those of all images: each has its filter.
    rows, columns = height + 2 * radius, width + 2 * radius
    planes = tf.reshape(tf.transpose(padded, [1, 2, 0, 3]), [1, rows, columns, batch * channels])
    filters = tf.repeat(tf.transpose(kernels, [1, 2, 0]), channels, axis=2)[..., None]
    filtered = tf.nn.depthwise_conv2d(planes, filters, [1, 1, 1, 1], "VALID")
    filtered = tf.reshape(filtered, [height, width, batch, channels])
    return tf.ensure_shape(tf.transpose(filtered, [2, 0, 1, 3]), images.shape)
