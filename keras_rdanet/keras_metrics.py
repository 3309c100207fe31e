"""The metrics that `model.fit` takes."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PSNR(keras.metrics.Metric):
    """Mean over images of the peak signal-to-noise ratio, in dB.

    Args:
        max_val: Value of white; the restored images are clipped to
            `[0, max_val]` as when they are written, but not rounded.
        name: Name of the metric in logs.

    Takes images `(B, H, W, C)`, computed in float32. An image equal to its
    target counts 100 dB, so that a mean stays finite.
    """

    def __init__(self, max_val=1.0, name="psnr", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.max_val = max_val
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.images = self.add_variable(shape=(), initializer="zeros", name="images")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add the images of a batch; `sample_weight` has one entry an image."""
        target = ops.cast(y_true, "float32")
        restored = ops.clip(ops.cast(y_pred, "float32"), 0.0, self.max_val)
        error = ops.mean(ops.square((restored - target) / self.max_val), axis=(1, 2, 3))
        decibels = ops.log(ops.maximum(error, 1e-10)) * (-10.0 / math.log(10.0))
        weight = ops.ones_like(decibels) if sample_weight is None else sample_weight
        weight = ops.reshape(ops.cast(weight, "float32"), (-1,))
        self.total.assign_add(ops.sum(decibels * weight))
        self.images.assign_add(ops.sum(weight))

    def result(self):
        """Return the mean so far."""
        return ops.divide_no_nan(self.total, self.images)

    def get_config(self):
        """Return the arguments."""
        return {**super().get_config(), "max_val": self.max_val}
