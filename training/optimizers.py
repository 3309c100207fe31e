"""Optimizers that Keras does not have."""

import keras


@keras.saving.register_keras_serializable(package="keras_rdanet")
class L2Adam(keras.optimizers.Adam):
    """Adam whose weight decay is a term of the gradient, as PyTorch's.

    Args:
        l2: Added to each gradient, times the weight.
        **kwargs: Of `keras.optimizers.Adam`.
    """

    def __init__(self, *args, l2=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        decay = keras.ops.cast(self.l2, gradient.dtype) * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient + decay, variable, learning_rate)

    def get_config(self):
        """Return the arguments."""
        return {**super().get_config(), "l2": self.l2}
