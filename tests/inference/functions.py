"""Small real image functions for the tests of this folder."""

import cv2
import numpy as np

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.weights.origin import Origin

# Not symmetric, so that a flip or a shift shows.
KERNEL = np.array([[1, 2, 0], [3, 5, 1], [0, 1, 3]], np.float32) / 16


def blur(images):
    """Cross-correlate each channel with `KERNEL`, zeros outside: a local function of radius 1."""
    return np.stack(
        [
            cv2.filter2D(image, -1, KERNEL, borderType=cv2.BORDER_CONSTANT).reshape(image.shape)
            for image in images
        ]
    )


def blurring(channels=1, times=3, **fields):
    """`blur` several times over, radius `times`."""

    def function(images):
        for _ in range(times):
            images = blur(images)
        return images

    return ImageFunction(function=function, channels=channels, name="blur", radius=times, **fields)


def identity(channels=1, task=None, **fields):
    origin = Origin("identity", task=task)
    return ImageFunction(np.copy, channels, "identity", origin=origin, **fields)


def open_identity(path, precision):
    """A loader, as `inference.open` has for each kind of file."""
    return identity(1)


def random_samples(height, width, channels, dtype=np.uint8, seed=0):
    white = np.iinfo(dtype).max
    values = np.random.default_rng(seed).integers(0, white, (height, width, channels))
    return values.astype(dtype)
