"""Modulated deformable convolution, 3x3 and stride 1."""

import keras
import numpy as np
from keras import ops

from keras_rdanet.layers.initializers import conv_initializers

TAPS = 9


@keras.saving.register_keras_serializable(package="keras_rdanet")
class DeformableConv2D(keras.layers.Layer):
    """A 3x3 convolution whose taps are moved and weighted position by position.

    Called with `[features, steering]`; the 27 channels of `steering` are the
    offsets of tap `k` in pixels, rows in channel `2 * k` and columns in
    `2 * k + 1`, followed by one channel for each tap, whose sigmoid is the
    weight of the tap. The layer that makes them starts at zero
    (`steering_conv`), so that this one starts as half a plain convolution.

    Args:
        filters: Channels of the output.
        initialization: Scheme for the kernel, see `conv_initializers`; the
            bias starts at 0.

    Input: `(B, H, W, C)` and `(B, H, W, 27)`; output: `(B, H, W, filters)`.

    Reference:
        Zhu et al., Deformable ConvNets v2, 2019, section 3.2. Taps and
        channels in the order of the usual PyTorch operators.
    """

    def __init__(self, filters, initialization="uniform", **kwargs):
        # Offsets must not be rounded to half precision: bfloat16 has quarters at 32.
        super().__init__(autocast=False, **kwargs)
        self.filters = filters
        self.initialization = initialization

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, channels, self.filters),
            initializer=conv_initializers(self.initialization, TAPS * channels)[
                "kernel_initializer"
            ],
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs, training=None):
        features, steering = inputs
        steering = ops.cast(steering, "float32")
        offsets, modulation = steering[..., : 2 * TAPS], ops.sigmoid(steering[..., 2 * TAPS :])
        features, kernel, bias = (
            ops.cast(x, self.compute_dtype) for x in (features, self.kernel, self.bias)
        )
        # The samples of nine taps are 36 times the features: in training they are made
        # again in the backward pass, in 15 % more time.
        convolve = keras.remat(deform_conv2d) if training else deform_conv2d
        return convolve(features, offsets, modulation, kernel) + bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "initialization": self.initialization,
        }


def steering_conv(**kwargs):
    """The convolution that makes offsets and weights of taps: zeros at the start, float32."""
    return keras.layers.Conv2D(
        3 * TAPS,
        3,
        padding="same",
        data_format="channels_last",
        kernel_initializer="zeros",
        dtype="float32",
        **kwargs,
    )


def deform_conv2d(features, offsets, modulation, kernel):
    """Sum over taps of sample times weight times kernel.

    Between pixels the features are interpolated bilinearly; outside of the
    image they are zeros, which samples up to a pixel inside are mixed with.

    Args:
        features: `(B, H, W, C)`.
        offsets: `(B, H, W, 18)` float32, rows and columns of each tap in turn.
        modulation: `(B, H, W, 9)` float32, the weights of the taps.
        kernel: `(3, 3, C, filters)`, the dtype of `features`.

    Returns:
        `(B, H, W, filters)`.
    """
    batch, height, width, channels = ops.shape(features)
    top, from_top = _cells(offsets[..., 0::2], height, axis=0)
    left, from_left = _cells(offsets[..., 1::2], width, axis=1)
    # One ring of zeros is enough: beyond it, samples are clipped onto it.
    padded = ops.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]])
    pixels = ops.reshape(padded, (-1, channels))
    row = width + 2
    image = ops.arange(batch) * ((height + 2) * row)
    corner = top * row + left + ops.reshape(image, (-1, 1, 1, 1))
    samples = 0
    for step, weight in (
        (0, (1 - from_top) * (1 - from_left)),
        (1, (1 - from_top) * from_left),
        (row, from_top * (1 - from_left)),
        (row + 1, from_top * from_left),
    ):
        weight = ops.expand_dims(ops.cast(weight * modulation, features.dtype), -1)
        samples = samples + ops.take(pixels, corner + step, axis=0) * weight
    samples = ops.reshape(samples, (batch, height, width, TAPS * channels))
    return ops.matmul(samples, ops.reshape(kernel, (TAPS * channels, -1)))


def _cells(offsets, size, axis):
    """Which pixel of the padded axis each sample comes after, and how far it is from it."""
    tap = np.indices((3, 3), np.float32)[axis].ravel()
    position = ops.cast(ops.arange(size), "float32")
    position = position[:, None, None] if axis == 0 else position[:, None]
    last = ops.cast(size + 1, "float32")
    position = ops.clip(position + tap + offsets, 0, last)
    before = ops.minimum(ops.floor(position), last - 1)
    return ops.cast(before, "int32"), position - before
