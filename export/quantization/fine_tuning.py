"""Quantization-aware fine-tuning: weights that lose less when a network computes in int8.

A copy of the network is trained further while its kernels and activations are
rounded to eight bits. For the rounding the graph is opened into single
operations, as a converter sees them, whose results get the ranges that
`quantization` would give them.
"""

import sys
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tqdm import tqdm

from keras_rdanet.export.quantization.ranges import MIN_RANGE, PERCENTILE
from keras_rdanet.layers.pyramid_attention import PyramidAttention

# Number of batches that ranges are measured on.
CALIBRATED = 50
LEARNING_RATE = 1e-4

# Operations that hand values on: what goes in and what comes out share one range.
_CARRIERS = {
    "Cast",
    "Concatenate",
    "Fold",
    "GetItem",
    "Max",
    "Pad",
    "PadTo",
    "PixelShuffle",
    "Reshape",
    "Split",
    "Stack",
    "Transpose",
}


def fine_tune(
    model, patches: tf.data.Dataset, steps: int, *, learning_rate: float = LEARNING_RATE
) -> keras.Model:
    """Return a copy of a network whose weights suffer less from eight bits.

    Args:
        model: A `RestorationModel` in float32; it is not changed.
        patches: Small batches of one size to train and to measure ranges on, as
            `keras_rdanet.data.pipeline.batches` makes them. Targets may be clean, or the outputs
            of the network for the patches.
        steps: Number of batches to train on.
        learning_rate: Largest learning rate of Adam: it rises to this value
            in the first tenth of the steps, then falls to 0.

    Returns:
        A network of the same class and configuration.

    Raises:
        ValueError: if `steps` is not positive.
    """
    if steps < 1:
        raise ValueError(f"`steps` of fine-tuning must be positive, got {steps}.")
    student = _copy(model)
    first, _ = next(iter(patches))
    graph = _opened(student, first.shape)
    graph = _rounding(graph, (degraded for degraded, _ in patches.take(CALIBRATED)))
    step = _step(student, graph, _optimizer(learning_rate, steps))
    # On stdout: the command silences stderr while files are made.
    with tqdm(
        patches.take(steps),
        "Fine-tuning",
        total=steps,
        unit="step",
        leave=False,
        disable=None,
        file=sys.stdout,
    ) as bar:
        for degraded, target in bar:
            bar.set_postfix(loss=f"{float(step(degraded, target)):.5f}", refresh=False)
    tuned = _copy(model)  # The layers of the student were renamed.
    tuned.set_weights(student.get_weights())
    return tuned


def _copy(model):
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def _optimizer(learning_rate, steps):
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=learning_rate, warmup_steps=max(steps // 10, 1)
    )
    return keras.optimizers.Adam(schedule)


def _step(student, graph, optimizer) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that trains on a batch and returns its mean absolute error."""
    last = student.stages[-1] if student.stages else None
    variables = graph.trainable_variables
    optimizer.build(variables)
    transposed = {
        id(layer.kernel)
        for layer in student._flatten_layers()
        if isinstance(layer, keras.layers.Conv2DTranspose)
    }
    axes = [-2 if id(variable) in transposed else -1 for variable in variables]

    @tf.function(autograph=False)
    def step(degraded, target):
        with tf.GradientTape() as tape:
            rounded = [_rounded(*pair) for pair in zip(variables, axes, strict=True)]
            restored, _ = graph.stateless_call(rounded, [], degraded, training=True)
            loss = ops.mean(ops.abs((restored[last] if last else restored) - target))
        gradients = tape.gradient(loss, variables)
        # Earlier stages have operations of their own, which do not reach the loss.
        pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
        optimizer.apply_gradients(pairs)
        return loss

    return step


def _rounded(variable, axis):
    """A kernel in 255 steps for each channel of the output, `axis`; biases stay as they are."""
    kernel = ops.convert_to_tensor(variable)
    if len(kernel.shape) < 2:
        return kernel
    others = [i for i in range(len(kernel.shape)) if i != axis % len(kernel.shape)]
    largest = ops.stop_gradient(ops.maximum(ops.max(ops.abs(kernel), axis=others), 1e-6))
    return keras.quantizers.fake_quant_with_min_max_vars(
        kernel, -largest, largest, narrow_range=True, axis=axis
    )


def _opened(student, shape):
    """The network as a graph of single operations that share its layers, which get unique names."""
    for index, layer in enumerate(student._flatten_layers(include_self=False)):
        layer.name = f"{layer.name}_{index}"

    def is_block(operation):  # The attention loops, which only works as a whole.
        return (
            isinstance(operation, keras.layers.Layer)
            and not isinstance(operation, PyramidAttention)
            and any(True for _ in operation._flatten_layers(include_self=False))
        )

    def call(operation, *arguments, **options):
        called = operation.call if is_block(operation) else operation
        return called(*arguments, **options)

    graph = _cloned(student, call, keras.Input(batch_shape=shape))
    while any(is_block(operation) for operation in graph.operations):
        graph = _cloned(graph, call)
    return graph


def _cloned(graph, call, inputs=None):
    return keras.models.clone_model(
        graph, inputs, clone_function=lambda operation: operation, call_function=call
    )


def _rounding(graph, batches):
    """The graph with the results of its operations rounded, to ranges measured on some batches."""
    groups = _groups(graph)
    layers = [None if group is None else Rounding() for group in groups]
    ahead = iter(layers)

    def call(operation, *arguments, **options):
        made, layer = operation(*arguments, **options), next(ahead)
        return made if layer is None else layer(made)

    graph = _cloned(graph, call)
    for batch in batches:
        graph(batch)
    for group in set(groups) - {None}:
        members = [
            layer
            for layer, own in zip(layers, groups, strict=True)
            if layer is not None and own == group
        ]
        lows, highs = zip(*(layer.measured() for layer in members), strict=True)
        for layer in members:
            layer.ends = (min(lows), max(highs))
    return graph


def _groups(graph):
    """For each call of an operation, a number: calls with the same one round to one range.

    `None` for what is not rounded: operations that only hand values on, and
    those that make the image.
    """
    groups: list[int] = []
    is_rounded: list[bool] = []
    maker: dict[int, int] = {}

    def call(operation, *arguments, **options):
        made, index = operation(*arguments, **options), len(groups)
        is_carrier = type(operation).__name__ in _CARRIERS
        groups.append(index)
        is_rounded.append(not is_carrier and isinstance(made, keras.KerasTensor))
        for tensor in keras.tree.flatten([arguments, options]) if is_carrier else ():
            if id(tensor) in maker:
                joined = groups[maker[id(tensor)]]
                groups[:] = [index if group == joined else group for group in groups]
        maker.update((id(tensor), index) for tensor in keras.tree.flatten(made))
        return made

    clone = _cloned(graph, call)  # It keeps the tensors, on whose identity this relies.
    for tensor in clone.outputs:
        is_rounded[maker[id(tensor)]] = False
    return [group if own else None for group, own in zip(groups, is_rounded, strict=True)]


class Rounding(keras.layers.Layer):
    """Rounds to 256 steps between `ends`; gradients pass between them. Without, it calibrates."""

    def __init__(self):
        super().__init__()
        self.ends = None
        self.extremes = []

    def measured(self):
        """The range that holds the extremes of most patches, and 0."""
        lows, highs = np.concatenate(self.extremes, axis=1)
        low = min(float(np.percentile(lows, 100 - PERCENTILE)), 0.0)
        return low, max(float(np.percentile(highs, PERCENTILE)), low + MIN_RANGE, 0.0)

    def call(self, inputs):
        if self.ends is not None:
            return keras.quantizers.fake_quant_with_min_max_vars(inputs, *self.ends)
        axes = tuple(range(1, len(inputs.shape)))
        found = [ops.min(inputs, axis=axes), ops.max(inputs, axis=axes)]
        self.extremes.append(ops.convert_to_numpy(ops.stack(found)))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape
