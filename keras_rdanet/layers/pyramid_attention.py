"""Attention from every position to patches of the whole image at several scales."""

import math

import keras
from keras import ops

from keras_rdanet.layers.bicubic import RESIZE_MODES, bicubic_resize
from keras_rdanet.layers.initializers import conv_initializers
from keras_rdanet.layers.native import native

# The paper's options, with which the presets are built. Files written by 0.1.0 do not name them.
# The levels are fractions in double precision: the sizes of the copies depend on how they round.
PUBLISHED = {
    "levels": (1.0, 0.9, 0.8, 0.7, 0.6),
    "ksize": 3,
    "stride": 1,
    "softmax_scale": 10,
    "average": True,
}
NORM_FLOOR = 1e-4
# With up to this many chunks of queries TensorFlow gets no loop, which accelerators do not support.
MAX_UNROLLED = 16


def prelu(**kwargs):
    """A PReLU with one slope for all channels and positions, 0.25 at the start."""
    return keras.layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2, 3], **kwargs
    )


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PyramidAttention(keras.layers.Layer):
    """Replaces every patch by a mean of the patches of a pyramid, weighted by likeness.

    Every position of an image is compared with the positions of the image
    and of smaller copies of it. Only the scores grow with the square of the
    area. They are computed for some rows at a time, in the backward pass
    too, which computes them again if there are many.

    Args:
        filters: Channels `C` of the input.
        reduction: Patches are compared in `C // reduction` channels.
        identity_scale: Factor of the input where it is added to the result.
        resize_mode: Sampling of the copies, see `bicubic_resize`.
        levels: Sizes of the copies as fractions of the image, each in
            `(0, 1]`; 1 is the image itself. The paper has `(1.0, 0.9, 0.8,
            0.7, 0.6)`.
        ksize: Height and width of the patches, 3 in the paper.
        stride: Distance in pixels between the patches taken from a copy, 1 in
            the paper. Queries are taken at every pixel.
        softmax_scale: Factor of the scores before the softmax, 10 in the
            paper.
        average: `True` for the mean weighted by the softmax, as in the paper;
            `False` for the patch with the highest score (the sum if several
            have it). Queries and keys then get no gradient.
        score_memory: Bytes of scores to compute at a time, at least one row
            for each image; TensorFlow may compute as many at once as it has
            threads between operations. It does not change the result.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`, `H` and `W` at least
    `smallest_side(levels)`, 2 with the paper's levels. Images of a batch do
    not see each other. Resize, norms, scores and softmax are in float32.

    Raises:
        ValueError: if `resize_mode` is unknown, a level is outside `(0, 1]`
            or there is none, or `ksize` or `stride` is below 1.

    Reference:
        Mei et al., Pyramid Attention Networks for Image Restoration, 2020,
        section 3. As in the authors' code the sum of overlapping patches, of
        which there are nine with the paper's options, is divided by 4
        everywhere, at the borders as well. Their code works with the paper's
        `ksize` and `stride` only; as there, zeros pad as in TensorFlow's
        `"SAME"`.
    """

    def __init__(
        self,
        filters,
        reduction,
        identity_scale,
        resize_mode,
        levels,
        ksize,
        stride,
        softmax_scale,
        average,
        score_memory=2**27,
        initialization="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if resize_mode not in RESIZE_MODES:
            raise ValueError(f"`resize_mode` must be one of {RESIZE_MODES}, got {resize_mode!r}.")
        if not levels or not all(0 < level <= 1 for level in levels):
            raise ValueError(f"`levels` must be fractions of the image in (0, 1], got {levels!r}.")
        for name, value in (("ksize", ksize), ("stride", stride)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value!r}.")
        # XLA cannot differentiate a TensorFlow loop of unknown length;
        # with this, Keras says so and goes on without XLA.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.filters = filters
        self.reduction = reduction
        self.identity_scale = identity_scale
        self.resize_mode = resize_mode
        self.levels = tuple(levels)
        self.ksize = ksize
        self.stride = stride
        self.softmax_scale = softmax_scale
        self.average = average
        self.score_memory = score_memory
        self.initialization = initialization
        self.query, self.query_prelu = self._embedding("query", filters // reduction)
        self.key, self.key_prelu = self._embedding("key", filters // reduction)
        self.value, self.value_prelu = self._embedding("value", filters)

    def _embedding(self, name, width):
        conv = keras.layers.Conv2D(
            width,
            1,
            data_format="channels_last",
            name=name,
            **conv_initializers(self.initialization, self.filters),
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
        queries = _patches(self.query_prelu(self.query(features)), self.ksize)
        keys, values = [], []
        for level in self.levels:
            copy = features if level == 1 else bicubic_resize(features, level, self.resize_mode)
            keys.append(_patches(self.key_prelu(self.key(copy)), self.ksize, self.stride))
            values.append(_patches(self.value_prelu(self.value(copy)), self.ksize, self.stride))
        keys = ops.cast(ops.concatenate(keys, axis=1), "float32")
        squares = ops.sum(ops.square(keys), axis=-1, keepdims=True)
        if native():  # TFLite turns these into operations that GPUs support
            keys = keys / ops.maximum(ops.sqrt(squares), NORM_FLOOR)
        else:  # The floor is inside the root, whose slope at 0 is infinite.
            keys = keys / ops.sqrt(ops.maximum(squares, NORM_FLOOR**2))
        patches = self._attend(queries, keys, ops.concatenate(values, axis=1), training)
        height, width = ops.shape(features)[1:3]
        patches = ops.reshape(patches, (-1, height, width, self.ksize**2 * self.filters))
        return _overlap_add(patches, self.ksize) / 4 + self.identity_scale * features

    def _attend(self, queries, keys, values, training):
        """The estimate of the patch around each position, `(B, H * W, ksize**2 * filters)`."""
        batch, positions, depth = ops.shape(queries)
        # Rounded up without negative numbers: ONNX divides towards zero.
        row_bytes = 4 * batch * ops.shape(keys)[1]
        at_once = (self.score_memory + row_bytes - 1) // row_bytes
        chunks = (positions + at_once - 1) // at_once
        if isinstance(chunks, int) and chunks == 1:  # no loop; XLA differentiates this
            return self._estimate(queries, keys, values)
        rows = (positions + chunks - 1) // chunks
        if isinstance(chunks, int) and chunks <= MAX_UNROLLED and native():
            return self._estimate_in_turn(queries, keys, values, rows)
        queries = ops.pad(queries, [[0, 0], [0, chunks * rows - positions], [0, 0]])
        queries = ops.reshape(queries, (batch, chunks, rows, depth))
        estimate = keras.remat(self._estimate) if training else self._estimate
        patches = ops.map(
            lambda chunk: estimate(chunk, keys, values), ops.transpose(queries, (1, 0, 2, 3))
        )
        patches = ops.transpose(patches, (1, 0, 2, 3))
        patches = ops.reshape(patches, (batch, chunks * rows, self.ksize**2 * self.filters))
        return patches[:, :positions]

    def _estimate(self, queries, keys, values):
        """Attention of `q` queries to all `l` keys, `(B, q, ksize**2 * filters)`."""
        scores = ops.matmul(ops.cast(queries, "float32"), ops.transpose(keys, (0, 2, 1)))
        if self.average:
            weights = ops.softmax(self.softmax_scale * scores, axis=-1)
        else:
            weights = scores == ops.max(scores, axis=-1, keepdims=True)
        return ops.matmul(ops.cast(weights, values.dtype), values)

    def _estimate_in_turn(self, queries, keys, values, rows):
        """Attention of all queries, `rows` of them at a time, on TensorFlow."""
        import tensorflow as tf

        found: list = []
        for first in range(0, queries.shape[1], rows):
            # Without this TensorFlow would compute the scores of all of them first.
            with tf.control_dependencies(found[-1:]):
                some = tf.identity(queries[:, first : first + rows])
                found.append(self._estimate(some, keys, values))
        return tf.concat(found, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "identity_scale": self.identity_scale,
            "resize_mode": self.resize_mode,
            "levels": list(self.levels),
            "ksize": self.ksize,
            "stride": self.stride,
            "softmax_scale": self.softmax_scale,
            "average": self.average,
            "score_memory": self.score_memory,
            "initialization": self.initialization,
        }

    @classmethod
    def from_config(cls, config):
        return super().from_config({**PUBLISHED, **config})


def smallest_side(levels):
    """Smallest height and width of which every level keeps a pixel."""
    return math.ceil(1 / min(levels))


def _patches(features, ksize, stride=1):
    """The square around every `stride`-th position, `(B, P, ksize**2 * C)`, zeros outside."""
    batch, height, width, channels = ops.shape(features)
    height, *rows = _same(height, ksize, stride)
    width, *columns = _same(width, ksize, stride)
    padded = ops.pad(features, [[0, 0], rows, columns, [0, 0]])
    shifts = [slice(i, i - ksize + 1 or None, stride) for i in range(ksize)]
    taps = [padded[:, rows, columns] for rows in shifts for columns in shifts]
    return ops.reshape(ops.concatenate(taps, axis=-1), (batch, height * width, ksize**2 * channels))


def _same(size, ksize, stride):
    """Number of patches along an axis, and the zeros before and after it, as in `"SAME"`."""
    if stride == 1:
        return size, (ksize - 1) // 2, ksize // 2
    count = (size + stride - 1) // stride
    missing = (count - 1) * stride + ksize - size
    zeros = max(missing, 0) if isinstance(size, int) else ops.maximum(missing, 0)
    return count, zeros // 2, zeros - zeros // 2


def _overlap_add(patches, ksize):
    """Sum patches `(B, H, W, ksize**2 * C)` where they overlap, `(B, H, W, C)`."""
    last = ksize - 1
    # Each tap is padded to its place: the gradient of a slice of them all has the size of all.
    places = [((i, last - i), (j, last - j)) for i in range(ksize) for j in range(ksize)]
    taps = zip(ops.split(patches, ksize**2, axis=-1), places, strict=True)
    total = sum(ops.pad(tap, [(0, 0), rows, columns, (0, 0)]) for tap, (rows, columns) in taps)
    inside = slice((ksize - 1) // 2, -(ksize // 2) or None)
    return total[:, inside, inside]
