"""The convolution that the networks are made of."""

import keras

from keras_rdanet.layers.initializers import conv_initializers


def conv(filters, kernel_size, channels, initialization, **kwargs):
    """A 2D convolution that keeps the size of its input.

    Args:
        filters: Channels of the output.
        kernel_size: Height and width of the kernel.
        channels: Of the input, which PyTorch's initialisation asks for.
        initialization: See `conv_initializers`.
        **kwargs: Further arguments of `keras.layers.Conv2D`.
    """
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        **conv_initializers(initialization, channels * kernel_size**2),
        **kwargs,
    )
