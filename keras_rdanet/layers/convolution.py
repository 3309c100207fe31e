"""The convolution that the networks are made of."""

import keras

from keras_rdanet.layers.initializers import conv_initializers
from keras_rdanet.layers.native import native


@keras.saving.register_keras_serializable(package="keras_rdanet")
class Convolution(keras.layers.Conv2D):
    """A `keras.layers.Conv2D` that has a form for `native_forms`."""

    def convolution_op(self, inputs, kernel):
        """Convolve, without the bias."""
        if max(self.dilation_rate) == 1 or not native():
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
        channels: Channels of the input, which PyTorch's initialisation depends on.
        initialization: Scheme for the initial weights, see `conv_initializers`.
        **kwargs: Further arguments of `keras.layers.Conv2D`.
    """
    return Convolution(
        filters,
        kernel_size,
        padding="same",
        data_format="channels_last",
        **conv_initializers(initialization, channels * kernel_size**2),
        **kwargs,
    )
