"""Training losses of the original recipes."""

import keras
from keras import ops

_BLUR = (0.05, 0.25, 0.4, 0.25, 0.05)


def charbonnier(target, restored, epsilon=1e-3):
    """A smooth absolute difference, `sqrt((restored - target)² + epsilon²)`, elementwise."""
    return ops.sqrt(ops.square(restored - target) + epsilon**2)


def _blur(images):
    """5x5 binomial-like blur of each channel, borders replicated."""
    for axis in (1, 2):
        first = ops.take(images, [0, 0], axis=axis)
        last = ops.take(images, [-1, -1], axis=axis)
        padded = ops.concatenate([first, images, last], axis=axis)
        size = ops.shape(images)[axis]
        window = (slice(None),) * axis
        images = sum(
            weight * padded[(*window, slice(tap, tap + size))] for tap, weight in enumerate(_BLUR)
        )
    return images


def laplacian(images):
    """The part of an image that a blur, a step down and a step up lose.

    Args:
        images: `(B, H, W, C)` float32.

    Returns:
        `images - blur(up(blur(images)))`, where `up` keeps the samples at
        even rows and columns, times 4, and zeroes the others.

    Reference:
        Zamir et al., MPRNet, 2021, equation 5, as in its code.
    """
    blurred = _blur(images)
    rows = ops.cast(ops.arange(ops.shape(images)[1]) % 2 == 0, images.dtype)
    columns = ops.cast(ops.arange(ops.shape(images)[2]) % 2 == 0, images.dtype)
    kept = 4 * blurred * rows[None, :, None, None] * columns[None, None, :, None]
    return images - _blur(kept)


def edge(target, restored, epsilon=1e-3):
    """Charbonnier difference of the two Laplacians, elementwise."""
    return charbonnier(laplacian(target), laplacian(restored), epsilon)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class Charbonnier(keras.losses.Loss):
    """The Charbonnier loss, a smooth mean absolute error.

    Args:
        epsilon: Difference, on the scale of images in `[0, 1]`, below which
            the loss is nearly quadratic.

    Input: targets and predictions `(B, H, W, C)`, float32 in `[0, 1]`.

    Reference:
        Charbonnier et al., Two deterministic half-quadratic regularization
        algorithms for computed imaging, 1994; MPRNet, 2021, equation 4.

    Example:
        >>> import numpy as np
        >>> import keras_rdanet as kr
        >>> black, gray = np.zeros((1, 8, 8, 3)), np.full((1, 8, 8, 3), 0.5)
        >>> round(float(kr.losses.Charbonnier()(black, gray)), 4)
        0.5
    """

    def __init__(self, epsilon=1e-3, name="charbonnier", **kwargs):
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        return ops.mean(charbonnier(y_true, y_pred, self.epsilon), axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


_PIXEL = {
    "mse": lambda target, restored: ops.square(restored - target),
    "l1": lambda target, restored: ops.abs(restored - target),
    "charbonnier": charbonnier,
}


@keras.saving.register_keras_serializable(package="keras_rdanet")
class RestorationLoss(keras.losses.Loss):
    """A pixel loss, plus a weighted edge loss, averaged over all elements.

    Args:
        pixel: `"mse"`, `"l1"` or `"charbonnier"` (epsilon 1e-3).
        edge_weight: Weight of the edge loss; `0` leaves it out.
        clip: Whether predictions are clipped to `[0, 1]` first, which stops
            gradients outside (real-noise recipe).

    Input: targets and predictions `(B, H, W, C)`, float32 in `[0, 1]`.

    Raises:
        ValueError: if `pixel` is unknown.

    Reference:
        Recipes of TSP-RDANet: `mse` for Gaussian noise; `charbonnier`, edge
        weight 0.1 and clipping for real noise. MPRNet, 2021, equations 4-6.
    """

    def __init__(self, pixel="mse", edge_weight=0.0, clip=False, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        if pixel not in _PIXEL:
            raise ValueError(f"`pixel` must be one of {sorted(_PIXEL)}, got {pixel!r}.")
        self.pixel = pixel
        self.edge_weight = edge_weight
        self.clip = clip

    def call(self, y_true, y_pred):
        if self.clip:
            y_pred = ops.clip(y_pred, 0.0, 1.0)
        loss = _PIXEL[self.pixel](y_true, y_pred)
        if self.edge_weight:
            loss = loss + self.edge_weight * edge(y_true, y_pred)
        return ops.mean(loss, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "pixel": self.pixel,
            "edge_weight": self.edge_weight,
            "clip": self.clip,
        }
