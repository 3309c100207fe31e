"""The graph that every format is made from: the network as trained, each convolution one operation.

There is no second network to keep equal. Dilated convolutions are traced as
one operation each; Keras on TensorFlow would wrap every one of them in
SpaceToBatchND and BatchToSpaceND, which converters and engines choke on.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_rdanet.layers.native import native_forms

INPUT = "degraded"
OUTPUT = "restored"


def restore_function(model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a network as a function to be traced.

    Args:
        model: A `RestorationModel` in float32 on the TensorFlow backend.

    Returns:
        A function that maps NHWC float32 in `[0, 1]` to the restored images, the
        last stage of the network, float32, not clipped.

    Raises:
        ValueError: if the precision or the backend is another one.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Exports are made on the TensorFlow backend, not on {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow."
        )
    if model.dtype_policy.name != "float32":
        raise ValueError(
            f"{model.name} computes in {model.dtype_policy.name}; load it with "
            'precision="float32", exports choose their own.'
        )
    last = model.stages[-1] if model.stages else None

    def restore(degraded):
        with native_forms():
            outputs = model(degraded, training=False)
        return tf.identity(outputs[last] if last else outputs, name=OUTPUT)

    return restore
