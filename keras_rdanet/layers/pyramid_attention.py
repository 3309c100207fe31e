"""Attention from every position to patches of the whole image at several scales."""

import keras
from keras import ops

from keras_rdanet.layers.bicubic import RESIZE_MODES, bicubic_resize
from keras_rdanet.layers.initializers import conv_initializers
from keras_rdanet.layers.native import native

# As fractions in double precision; sizes depend on how they round.
SCALES = (1.0, 0.9, 0.8, 0.7, 0.6)
SOFTMAX_SCALE = 10
NORM_FLOOR = 1e-4
# Chunks of queries up to which TensorFlow gets no loop, for accelerators take none.
MAX_UNROLLED = 16


def prelu(**kwargs):
    """A PReLU with one slope for all channels and positions, 0.25 at the start."""
    return keras.layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2, 3], **kwargs
    )


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PyramidAttention(keras.layers.Layer):
    """Replaces every 3x3 patch by a mean of the patches of a pyramid, weighted by likeness.

    Every position of an image is compared with every position of the image
    and of four smaller copies of it. The scores are the one thing that grows
    with the square of the area; only some of their rows exist at a time, in
    the backward pass too, which computes them again if they are not few.

    Args:
        filters: Channels `C` of the input.
        reduction: Patches are compared in `C // reduction` channels.
        identity_scale: What the input is multiplied by where it is added.
        resize_mode: How the copies are sampled, see `bicubic_resize`.
        score_memory: Bytes of scores to have at a time, at least one row for
            each image; TensorFlow may compute as many at once as it has
            threads between operations. Does not change the result.
        initialization: See `conv_initializers`.

    Input and output: `(B, H, W, filters)`, `H` and `W` at least 2. An image
    only sees itself. Resize, norms, scores and softmax are in float32.

    Raises:
        ValueError: if `resize_mode` is unknown.

    Reference:
        Mei et al., Pyramid Attention Networks for Image Restoration, 2020,
        section 3. As in the authors' code the patches overlap nine times and
        are divided by 4, at the borders as well.
    """

    def __init__(
        self,
        filters,
        reduction,
        identity_scale,
        resize_mode,
        score_memory=2**27,
        initialization="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if resize_mode not in RESIZE_MODES:
            raise ValueError(f"`resize_mode` must be one of {RESIZE_MODES}, got {resize_mode!r}.")
        # XLA cannot differentiate a TensorFlow loop whose length it is not told;
        # with this, Keras says so and goes on without XLA.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.filters = filters
        self.reduction = reduction
        self.identity_scale = identity_scale
        self.resize_mode = resize_mode
        self.score_memory = score_memory
        self.initialization = initialization
        self.query, self.query_prelu = self._embedding("query", filters // reduction)
        self.key, self.key_prelu = self._embedding("key", filters // reduction)
        self.value, self.value_prelu = self._embedding("value", filters)

    def _embedding(self, name, width):
        conv = keras.layers.Conv2D(
            width, 1, name=name, **conv_initializers(self.initialization, self.filters)
        )
        return conv, prelu(name=f"{name}_prelu")

    def build(self, input_shape):
        for conv, activation in (
            (self.query, self.query_prelu),
            (self.key, self.key_prelu),
            (self.value, self.value_prelu),
        ):
            conv.build((None, None, None, self.filters))
            activation.build((None, None, None, conv.filters))

    def call(self, features, training=None):
        queries = _patches(self.query_prelu(self.query(features)))
        keys, values = [], []
        for scale in SCALES:
            copy = features if scale == 1 else bicubic_resize(features, scale, self.resize_mode)
            keys.append(_patches(self.key_prelu(self.key(copy))))
            values.append(_patches(self.value_prelu(self.value(copy))))
        keys = ops.cast(ops.concatenate(keys, axis=1), "float32")
        squares = ops.sum(ops.square(keys), axis=-1, keepdims=True)
        if native():  # of which TFLite makes operations that GPUs have
            keys = keys / ops.maximum(ops.sqrt(squares), NORM_FLOOR)
        else:  # The floor is inside the root, whose slope at 0 is infinite.
            keys = keys / ops.sqrt(ops.maximum(squares, NORM_FLOOR**2))
        patches = self._attend(queries, keys, ops.concatenate(values, axis=1), training)
        height, width = ops.shape(features)[1:3]
        patches = ops.reshape(patches, (-1, height, width, 9 * self.filters))
        return _overlap_add(patches) / 4 + self.identity_scale * features

    def _attend(self, queries, keys, values, training):
        """The estimate of the patch around each position, `(B, H * W, 9 * filters)`."""
        batch, positions, depth = ops.shape(queries)
        # Rounded up without negative numbers: ONNX divides towards zero.
        row_bytes = 4 * batch * ops.shape(keys)[1]
        at_once = (self.score_memory + row_bytes - 1) // row_bytes
        chunks = (positions + at_once - 1) // at_once
        if isinstance(chunks, int) and chunks == 1:  # no loop; XLA differentiates this
            return _estimate(queries, keys, values)
        rows = (positions + chunks - 1) // chunks
        if isinstance(chunks, int) and chunks <= MAX_UNROLLED and native():
            return _estimate_in_turn(queries, keys, values, rows)
        queries = ops.pad(queries, [[0, 0], [0, chunks * rows - positions], [0, 0]])
        queries = ops.reshape(queries, (batch, chunks, rows, depth))
        estimate = keras.remat(_estimate) if training else _estimate
        patches = ops.map(
            lambda chunk: estimate(chunk, keys, values), ops.transpose(queries, (1, 0, 2, 3))
        )
        patches = ops.transpose(patches, (1, 0, 2, 3))
        patches = ops.reshape(patches, (batch, chunks * rows, 9 * self.filters))
        return patches[:, :positions]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "identity_scale": self.identity_scale,
            "resize_mode": self.resize_mode,
            "score_memory": self.score_memory,
            "initialization": self.initialization,
        }


def _patches(features):
    """The 3x3 neighbourhood of each position, `(B, H * W, 9 * C)`, zeros outside."""
    padded = ops.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]])
    shifts = (slice(0, -2), slice(1, -1), slice(2, None))
    taps = [padded[:, rows, columns] for rows in shifts for columns in shifts]
    batch, height, width, channels = ops.shape(features)
    return ops.reshape(ops.concatenate(taps, axis=-1), (batch, height * width, 9 * channels))


def _overlap_add(patches):
    """Sum patches `(B, H, W, 9 * C)` where they overlap, `(B, H, W, C)`."""
    # Each tap is padded to its place: the gradient of a slice of them all has the size of all.
    places = [((i, 2 - i), (j, 2 - j)) for i in range(3) for j in range(3)]
    taps = zip(ops.split(patches, 9, axis=-1), places, strict=True)
    total = sum(ops.pad(tap, [(0, 0), rows, columns, (0, 0)]) for tap, (rows, columns) in taps)
    return total[:, 1:-1, 1:-1]


def _estimate(queries, keys, values):
    """Attention of some queries: `(B, q, 9d)`, `(B, l, 9d)`, `(B, l, 9C)` to `(B, q, 9C)`."""
    scores = ops.matmul(ops.cast(queries, "float32"), ops.transpose(keys, (0, 2, 1)))
    weights = ops.softmax(SOFTMAX_SCALE * scores, axis=-1)
    return ops.matmul(ops.cast(weights, values.dtype), values)


def _estimate_in_turn(queries, keys, values, rows):
    """The same for some rows of queries after the other, on TensorFlow."""
    import tensorflow as tf

    found: list = []
    for first in range(0, queries.shape[1], rows):
        # TensorFlow would compute the scores of all of them first.
        with tf.control_dependencies(found[-1:]):
            some = tf.identity(queries[:, first : first + rows])
            found.append(_estimate(some, keys, values))
    return tf.concat(found, axis=1)
