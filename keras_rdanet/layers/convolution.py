"""The convolution that the networks are made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

from keras_rdanet.layers.initializers import conv_initializers

_native_dilation = ContextVar("native_dilation", default=False)


@contextmanager
def native_dilation() -> Iterator[None]:
    """Trace dilated convolutions as one operation each, on TensorFlow.

    Without it TensorFlow surrounds the convolution with `SpaceToBatchND` and
    `BatchToSpaceND`, which are slower and which converters carry along. The
    results differ by rounding; other backends never need this. The gradient
    on a CPU needs oneDNN, which not every build of TensorFlow has.
    """
    token = _native_dilation.set(True)
    try:
        yield
    finally:
        _native_dilation.reset(token)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class Convolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D` that heeds `native_dilation`."""

    def convolution_op(self, inputs, kernel):
        """Convolve, without the bias."""
        native = _native_dilation.get() and max(self.dilation_rate) > 1
        if not native or keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        return tf.nn.conv2d(
            inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate
        )


def conv(filters, kernel_size, channels, initialization, **kwargs):
    """A 2D convolution that keeps the size of its input.

    Args:
        filters: Channels of the output.
        kernel_size: Height and width of the kernel.
        channels: Of the input, which PyTorch's initialisation asks for.
        initialization: See `conv_initializers`.
        **kwargs: Further arguments of `keras.layers.Conv2D`.
    """
    return Convolution(
        filters,
        kernel_size,
        padding="same",
        **conv_initializers(initialization, channels * kernel_size**2),
        **kwargs,
    )
