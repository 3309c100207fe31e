"""Parts of networks as loops over positions, in float64 on `(H, W, C)` arrays."""

import numpy as np
from keras import ops


def weights_of(model):
    """The weights of a Keras model by path."""
    return {v.path: ops.convert_to_numpy(v).astype(np.float64) for v in model.weights}


def convolution(x, kernel, bias=0.0):
    """Stride 1 and zeros around."""
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    output = np.empty((*x.shape[:2], kernel.shape[3]))
    for row, column in np.ndindex(*x.shape[:2]):
        window = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        output[row, column] = np.tensordot(window, kernel, 3) + bias
    return output


def pixel_shuffle(x, factor):
    """Channels to pixels in PyTorch's order."""
    height, width, channels = x.shape
    output = np.empty((height * factor, width * factor, channels // factor**2))
    for row, column, channel in np.ndindex(*output.shape):
        block = channel * factor**2 + row % factor * factor + column % factor
        output[row, column, channel] = x[row // factor, column // factor, block]
    return output


def bilinear_double(x):
    """Twice the size; the centre of pixel `i` lies at `(i + 0.5) / 2 - 0.5` of the input."""
    for axis in (0, 1):
        size = x.shape[axis]
        position = (np.arange(2 * size) + 0.5) / 2 - 0.5
        low = np.floor(position).astype(int)
        share = np.expand_dims(position - low, tuple({0, 1, 2} - {axis}))
        below, above = (np.take(x, np.clip(low + i, 0, size - 1), axis) for i in (0, 1))
        x = (1 - share) * below + share * above
    return x
