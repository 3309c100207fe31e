"""The orthonormal Haar transform as a change of size."""

import keras
from keras import ops

from keras_rdanet.layers.native import native


@keras.saving.register_keras_serializable(package="keras_rdanet")
class HaarTransform(keras.layers.Layer):
    """Halves the size; four bands of all channels each: LL, HL, LH, HH.

    HL is right minus left, LH bottom minus top. `InverseHaarTransform`
    undoes it; sums of squares stay what they are.

    Input: `(B, H, W, C)`, `H` and `W` even; output: `(B, H / 2, W / 2, 4 * C)`.

    Raises:
        ValueError: if `H` or `W` is known and odd.
    """

    def call(self, features):
        self.compute_output_shape(features.shape)
        top, bottom = features[:, 0::2], features[:, 1::2]
        a, b = top[:, :, 0::2], top[:, :, 1::2]
        c, d = bottom[:, :, 0::2], bottom[:, :, 1::2]
        bands = [a + b + c + d, b + d - a - c, c + d - a - b, a + d - b - c]
        return ops.concatenate(bands, axis=-1) / 2

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if any(side is not None and side % 2 for side in (height, width)):
            raise ValueError(
                f"The Haar transform halves height and width, but got {height}x{width}; "
                "pad the image to an even size."
            )
        halves = [None if side is None else side // 2 for side in (height, width)]
        return (batch, *halves, 4 * channels)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class InverseHaarTransform(keras.layers.Layer):
    """Undoes `HaarTransform`.

    Input: `(B, h, w, 4 * C)`, bands in its order; output: `(B, 2 * h, 2 * w, C)`.
    """

    def call(self, bands):
        batch, height, width, _ = ops.shape(bands)
        ll, hl, lh, hh = ops.split(bands / 2, 4, axis=-1)
        top = [ll - hl - lh + hh, ll + hl - lh - hh]
        bottom = [ll - hl + lh - hh, ll + hl + lh + hh]
        if native():
            import tensorflow as tf

            return tf.nn.depth_to_space(tf.concat(top + bottom, axis=-1), 2)
        cells = ops.stack([ops.stack(row, axis=3) for row in (top, bottom)], axis=2)
        return ops.reshape(cells, (batch, 2 * height, 2 * width, ll.shape[-1]))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        doubles = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *doubles, channels // 4)
