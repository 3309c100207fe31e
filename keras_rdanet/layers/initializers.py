"""Initialisers of the original training codes."""

import keras


def conv_initializers(scheme, fan_in):
    """Kernel and bias initialisers of one convolution.

    Each call makes fresh objects: two layers that shared one would start equal.

    Args:
        scheme: `"orthogonal"`: gain 0.2, zero biases (TSP-RDANet on Gaussian
            noise); `"uniform"`: kernel and bias in ±1/√fan_in, PyTorch's
            default for convolutions.
        fan_in: Input channels times kernel area; for a transposed convolution
            PyTorch counts the output channels instead.

    Returns:
        Keyword arguments of a Keras convolution.

    Raises:
        ValueError: if `scheme` is neither of the two.
    """
    if scheme == "orthogonal":
        return {
            "kernel_initializer": keras.initializers.Orthogonal(gain=0.2),
            "bias_initializer": "zeros",
        }
    if scheme == "uniform":
        bound = fan_in**-0.5
        return {
            "kernel_initializer": keras.initializers.RandomUniform(-bound, bound),
            "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
        }
    raise ValueError(f'`initialization` must be "orthogonal" or "uniform", got {scheme!r}.')
