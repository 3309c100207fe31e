"""Keras' Adam and AdamW, with averages of weights that short runs can use."""

import keras
from keras import ops


class _WarmAverage(keras.optimizers.Optimizer):
    """Averages weights over few steps at first, and over ever more until the momentum is reached.

    With the same momentum from the start, the average of a short run is
    mostly its first, untrained weights. The momentum of step `t`, counted
    from 0, is `min(ema_momentum, (1 + t) / (10 + t))`, as in TensorFlow 1.
    """

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.use_ema:
            return
        step = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(float(self.ema_momentum), (1.0 + step) / (10.0 + step))
        for variable, average in zip(
            trainable_variables, self._model_variables_moving_average, strict=True
        ):
            if average is not None:
                share = ops.cast(momentum, variable.dtype)
                average.assign(share * average + (1 - share) * variable)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class Adam(_WarmAverage, keras.optimizers.Adam):
    """Adam of Keras; see `_WarmAverage` for `use_ema`."""


@keras.saving.register_keras_serializable(package="keras_rdanet")
class AdamW(_WarmAverage, keras.optimizers.AdamW):
    """AdamW of Keras; see `_WarmAverage` for `use_ema`."""


@keras.saving.register_keras_serializable(package="keras_rdanet")
class L2Adam(Adam):
    """Adam whose weight decay is a term of the gradient, as PyTorch's.

    Args:
        l2: Factor of the weight that is added to its gradient.
        **kwargs: Arguments of `keras.optimizers.Adam`.
    """

    def __init__(self, *args, l2=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        decay = ops.cast(self.l2, gradient.dtype) * ops.cast(variable, gradient.dtype)
        super().update_step(gradient + decay, variable, learning_rate)

    def get_config(self):
        """Return the arguments."""
        return {**super().get_config(), "l2": self.l2}
