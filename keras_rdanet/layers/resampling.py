"""Changes of size inside a network."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PadTo(keras.layers.Layer):
    """Zero-pads features at the bottom and right to the size of others.

    Called with `[features, like]`; `like` is never smaller.

    Input: `(B, h, w, C)` and `(B, H, W, any)`; output: `(B, H, W, C)`.
    """

    def call(self, inputs):
        features, like = inputs
        rows = ops.shape(like)[1] - ops.shape(features)[1]
        columns = ops.shape(like)[2] - ops.shape(features)[2]
        if isinstance(rows, int) and isinstance(columns, int) and rows == columns == 0:
            return features
        return ops.pad(features, [[0, 0], [0, rows], [0, columns], [0, 0]])

    def compute_output_shape(self, input_shape):
        features, like = input_shape
        return (*like[:3], features[3])
