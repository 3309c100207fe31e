"""Changes of size inside a network."""

import keras
from keras import ops

from keras_rdanet.layers.native import native


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


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PixelShuffle(keras.layers.Layer):
    """Turns blocks of `factor**2` channels into blocks of `factor` by `factor` pixels.

    Channel `c * factor**2 + i * factor + j` becomes row `i` and column `j` of
    channel `c`: PyTorch's order, so that its weights fit; `depth_to_space`
    has the channel last.

    Args:
        factor: Factor of the enlargement.

    Input: `(B, H, W, factor**2 * C)`; output: `(B, factor * H, factor * W, C)`.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, features):
        batch, height, width, channels = ops.shape(features)
        r, c = self.factor, channels // self.factor**2
        if native():
            import tensorflow as tf

            # Channel last in each block, in four axes.
            blocks = tf.reshape(features, (batch, height * width, c, r * r))
            blocks = tf.transpose(blocks, (0, 1, 3, 2))
            return tf.nn.depth_to_space(tf.reshape(blocks, ops.shape(features)), r)
        blocks = ops.reshape(features, (batch, height, width, c, r, r))
        blocks = ops.transpose(blocks, (0, 1, 4, 2, 5, 3))
        return ops.reshape(blocks, (batch, height * r, width * r, c))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        enlarged = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *enlarged, channels // self.factor**2)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="keras_rdanet")
class BilinearUpsampling(keras.layers.Layer):
    """Twice the height and width, by bilinear interpolation.

    Row `i` of the output lies at `(i + 0.5) / 2 - 0.5` of the input, clamped
    to its edge: `align_corners=False` of PyTorch. Unlike
    `keras.layers.UpSampling2D` this takes sizes that are unknown when traced.

    Input: `(B, H, W, C)`; output: `(B, 2 * H, 2 * W, C)`.
    """

    def call(self, features):
        if native():
            import tensorflow as tf

            _, height, width, _ = ops.shape(features)
            resized = tf.image.resize(features, (2 * height, 2 * width))
            return tf.cast(resized, features.dtype)
        for axis in (1, 2):
            # Shifted by concatenation: ONNX has no symmetric padding.
            along = (slice(None),) * axis
            first, last = features[(*along, slice(1))], features[(*along, slice(-1, None))]
            before = ops.concatenate([first, features[(*along, slice(-1))]], axis=axis)
            after = ops.concatenate([features[(*along, slice(1, None))], last], axis=axis)
            pairs = [0.75 * features + 0.25 * before, 0.75 * features + 0.25 * after]
            size = list(ops.shape(features))
            size[axis] *= 2
            features = ops.reshape(ops.stack(pairs, axis=axis + 1), size)
        return features

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        doubled = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *doubled, channels)
