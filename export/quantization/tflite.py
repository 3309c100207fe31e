"""Smaller and faster TFLite files from one in float32, by AI Edge Quantizer.

TensorFlow's own converter was measured beside it: with the tiny gray weights on
Set12, 128-pixel crops, sigma 15, 25 and 50, its int8 file loses 0.17, 0.13 and
0.08 dB, this one 0.09, 0.05 and 0.03, and its calibration is several times slower.

Two rules hold for every file with integer activations. The operation that
makes the image, for a network with a long skip the sum of input and residual,
stays in float32: eight bits for the range of noisy images are coarser than
those of a picture, and the sum of TFLite in int16 is as coarse. And what is
shared gets one treatment: a layer that runs several times has its weights
stored once only if all its uses agree.
"""

import bisect
import contextlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer
from ai_edge_quantizer import calibrator, qtyping, recipe
from ai_edge_quantizer.quantizer import AlgorithmName, Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager

from keras_rdanet.export.quantization.calibration import CalibrationTiles
from keras_rdanet.profiling import usable_cores

Ranges = dict[str, dict[str, np.ndarray]]
# The same before tiles are summarised: one value a tile.
Observations = dict[str, dict[str, np.ndarray]]

# What a file may lose on calibration tiles, in dB. Flat ones and those with little
# noise lose most: with such a file test pictures lose 0.1 to 0.2 dB.
BUDGET = 0.6

# What a file loses that cannot compute every tile, in dB: division refuses a divisor
# that eight bits round to zero.
UNUSABLE = 100.0

# How many tiles files are compared on.
COMPARED = 96

# Squared error that nobody sees: one gray level of 255.
UNSEEN = (1 / 255) ** 2

# Shares of the tiles whose extremes eight bits may represent. With all of them
# steps are coarse and little noise suffers, with few of them much noise does;
# which is best depends on the weights.
COVERAGES = (0.6, 0.7, 0.8, 0.9)
# That of fine-tuning, which has no file to measure yet.
COVERAGE = 0.95

# Gates and branches that were never open in training have no range at all.
# XNNPACK refuses scales that differ too much, and this resolution suffices.
MIN_RANGE = 1e-2

Op = flatbuffer.BuiltinOperator
_NOT = "no_quantize"
_MOVING = (Op.REDUCE_MAX, Op.DEPTH_TO_SPACE)
_ALL = qtyping.TFLOperationName.ALL_SUPPORTED
_BOUNDARY = (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT)


@dataclass(frozen=True)
class Mixture:
    """What stays in float32 in a file that computes in int8 otherwise.

    Args:
        operations: Kinds of operations, by their names in TFLite.
        layers: Top-level layers of the network.
    """

    operations: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


_SUMS = ("ADD", "SUB")
_GATES = ("MUL", "LOGISTIC", "MEAN", "SUM", "DIV", "SOFTMAX", "TANH")

# From the fastest file to slower and more precise ones.
MIXTURES = (Mixture(), Mixture(_SUMS), Mixture(_SUMS + _GATES))


def observe(content: bytes, tiles: np.ndarray) -> Observations:
    """Record the smallest and the largest value of every tensor in every tile.

    Args:
        content: A TFLite file in float32.
        tiles: `(N, side, side, C)` float32, of the size that the file takes.
    """
    recipes = RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    with _quiet():
        # The other mode keeps all tensors: gigabytes for a tile of 256 pixels.
        observer = calibrator.Calibrator(
            content,
            num_threads=usable_cores(),
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=_append,
        )
        name = _input_name(content)
        samples = [{name: tile[np.newaxis]} for tile in tiles]
        observer.calibrate({"serving_default": samples}, recipes)
    return observer.get_model_qsvs()


def choose_coverage(
    content: bytes, observed: Observations, tiles: CalibrationTiles, count: int = COMPARED
) -> tuple[float, dict[float, float]]:
    """Find the coverage with which int8 loses least on tiles.

    Args:
        content: A TFLite file in float32 that takes such tiles.
        observed: From `observe`.
        tiles: To measure on.
        count: How many of them.

    Returns:
        One of `COVERAGES`, and what files lose with each, in dB.
    """
    score = _scorer(content, tiles, count)
    losses = {
        coverage: round(score(to_int8(content, ranges_of(content, observed, coverage))), 4)
        for coverage in COVERAGES
    }
    return min(losses, key=losses.__getitem__), losses


def ranges_of(content: bytes, observed: Observations, coverage: float = COVERAGE) -> Ranges:
    """Summarise observations; what is concatenated gets one range, so that nothing is rescaled.

    Args:
        content: The TFLite file that was observed.
        observed: From `observe`.
        coverage: The share of the tiles whose extremes lie inside. Below 1 the
            rest is clipped and everything else gets finer steps.
    """
    ranges = {}
    for name, found in observed.items():
        # Quantized ranges always hold 0.
        low = np.minimum(np.quantile(found["min"], 1 - coverage, keepdims=True), 0)
        high = np.maximum(np.quantile(found["max"], coverage, keepdims=True), 0)
        ranges[name] = {"min": low, "max": np.maximum(high, low + MIN_RANGE)}
    for group in _concatenated(content):
        joined = {
            "min": min(ranges[name]["min"] for name in group),
            "max": max(ranges[name]["max"] for name in group),
        }
        ranges.update((name, joined) for name in group)
    return ranges


def _concatenated(content: bytes) -> list[set[str]]:
    """Groups of the tensors that concatenations connect, by name."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    groups: list[set[str]] = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if flatbuffer.get_builtin_code_from_operator_code(code) == Op.CONCATENATION:
            group = {
                graph.tensors[i].name.decode()
                for i in (*operator.inputs, *operator.outputs)
                if model.buffers[graph.tensors[i].buffer].data is None
            }
            joined = [other for other in groups if other & group]
            groups = [other for other in groups if not other & group]
            groups.append(group.union(*joined))
    return groups


def _append(before, new):
    return {key: np.concatenate([before[key], new[key]]) for key in ("min", "max")}


def to_fp16(content: bytes) -> bytes:
    """Store weights in float16; everything is still computed in float32."""
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    quantizer = Quantizer(content)
    quantizer.update_quantization_recipe(".*", _ALL, config, AlgorithmName.FLOAT_CASTING)
    return _quantized(quantizer)


def to_dynamic(content: bytes) -> bytes:
    """Store weights in int8, a scale for each channel; activations are quantized as they come."""
    return _quantized(Quantizer(content, recipe.dynamic_legacy_wi8_afp32()))


def to_int16x8(content: bytes, ranges: Ranges) -> bytes:
    """Quantize activations to 16 bits and weights to 8; input and output stay float32."""
    quantizer = Quantizer(content, recipe.static_wi8_ai16())
    _keep_float(quantizer, content, Mixture())
    # One of the sixteen bits for values that calibration did not meet.
    doubled = {
        name: {end: 2 * value for end, value in found.items()} for name, found in ranges.items()
    }
    return _quantized(quantizer, doubled)


def to_int8(content: bytes, ranges: Ranges, mixture: Mixture = Mixture()) -> bytes:
    """Quantize activations and weights to 8 bits; input and output stay float32.

    Args:
        content: A TFLite file in float32.
        ranges: Of its tensors, from `observe`.
        mixture: What else stays in float32.
    """
    quantizer = Quantizer(content, recipe.static_wi8_ai8())
    _keep_float(quantizer, content, mixture)
    return _moving_integers(_quantized(quantizer, ranges))


def to_full_int8(content: bytes, ranges: Ranges) -> bytes:
    """Quantize everything to int8; input and output share the scale of 8-bit pictures.

    White is 1: input and output take 8-bit samples minus 128, and adding a
    residual to the input loses nothing but its own rounding.
    """
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    image = {"min": np.zeros(1, np.float32), "max": np.ones(1, np.float32)}
    names = [graph.tensors[i].name.decode() for i in (*graph.inputs, *graph.outputs)]
    fixed = {**ranges, **dict.fromkeys(names, image)}
    return _moving_integers(_quantized(Quantizer(content, recipe.static_wi8_ai8()), fixed))


def layers_of(content: bytes) -> tuple[str, ...]:
    """The top-level layers of the network, in order, as far as tensor names tell them."""
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    found: dict[str, None] = {}
    for operator in graph.operators:
        for name in graph.tensors[operator.outputs[0]].name.decode().split(";"):
            parts = name.split("/")
            if len(parts) > 2:
                found[re.sub(r"_\d+$", "", parts[1])] = None
    return tuple(found)


def layer_losses(content: bytes, ranges: Ranges, tiles: CalibrationTiles) -> dict[str, float]:
    """Measure what each layer loses alone: dB on tiles when all others stay in float32.

    Args:
        content: A TFLite file in float32 that takes such tiles.
        ranges: Of its tensors.
        tiles: Some are picked.

    Returns:
        Layer -> loss in dB, largest first.
    """
    layers = layers_of(content)
    score = _scorer(content, tiles, 12, unseen=0)
    losses = {}
    for layer in layers:
        others = tuple(other for other in layers if other != layer)
        losses[layer] = score(to_int8(content, ranges, Mixture(_SUMS, others)))
    return dict(sorted(losses.items(), key=lambda item: -item[1]))


def choose_mixture(
    content: bytes,
    ranges: Ranges,
    tiles: CalibrationTiles,
    budget: float = BUDGET,
    count: int = COMPARED,
) -> tuple[Mixture, list[dict]]:
    """Find the fastest mixture of int8 and float32 that loses no more than `budget`.

    First sums, then gates stay in float32; if that does not suffice, as few
    layers as do, those that hurt most. How many is found by bisection.

    Args:
        content: A TFLite file in float32 that takes such tiles.
        ranges: Of its tensors.
        tiles: To measure on.
        budget: In dB.
        count: How many tiles.

    Returns:
        The mixture, the most precise one if none is good enough; and what was
        tried, with its loss.
    """
    score = _scorer(content, tiles, count)
    tried: dict[Mixture, float] = {}

    def fits(mixture):
        tried[mixture] = score(to_int8(content, ranges, mixture))
        return tried[mixture] <= budget

    if not any(fits(mixture) for mixture in MIXTURES):
        layers = tuple(layer_losses(content, ranges, tiles))
        finer = [Mixture(_SUMS + _GATES, layers[:end]) for end in range(1, len(layers))]
        bisect.bisect_left(finer, True, key=fits)
    good = [mixture for mixture, loss in tried.items() if loss <= budget]
    best = min(good, key=lambda one: len(one.layers)) if good else min(tried, key=tried.__getitem__)
    report = [
        {"float operations": m.operations, "float layers": m.layers, "loss dB": round(loss, 4)}
        for m, loss in tried.items()
    ]
    return best, report


def _scorer(
    content: bytes, tiles: CalibrationTiles, count: int, unseen: float = UNSEEN
) -> Callable[[bytes], float]:
    """Measure the loss of files beside `content` on `count` tiles: the root mean square, in dB.

    Every tile counts alike, flat or textured, clean or noisy, and one that
    loses much counts for many that lose little; squared errors of `unseen` hardly do.
    """
    number = len(tiles.degraded)
    picked = np.linspace(0, number - 1, min(count, number)).round().astype(int)
    before = _errors(content, tiles, picked)

    def score(quantized):
        try:
            after = _errors(quantized, tiles, picked)
        except RuntimeError:
            return UNUSABLE
        losses = 10 * np.log10((after + unseen) / (before + unseen))
        return float(np.sqrt(np.mean(np.maximum(losses, 0) ** 2)))

    return score


def _errors(content: bytes, tiles: CalibrationTiles, picked: np.ndarray) -> np.ndarray:
    """The mean squared errors of some tiles, clipped as pictures are."""
    interpreter = Interpreter(model_content=content, num_threads=usable_cores())
    source = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(source, (1, *tiles.degraded.shape[1:]))
    interpreter.allocate_tensors()
    made = interpreter.get_output_details()[0]["index"]
    errors = []
    for index in picked:
        interpreter.set_tensor(source, tiles.degraded[index : index + 1])
        interpreter.invoke()
        restored = np.clip(interpreter.get_tensor(made)[0], 0, 1)
        errors.append(np.mean((restored - tiles.target[index]) ** 2))
    return np.maximum(errors, 1e-8)


def _keep_float(quantizer: Quantizer, content: bytes, mixture: Mixture) -> None:
    """Exclude input, output, what makes the image, and the mixture."""
    for boundary in _BOUNDARY:
        quantizer.update_quantization_recipe(".*", boundary, algorithm_key=_NOT)
    for name in mixture.operations:
        operation = qtyping.TFLOperationName(name)
        quantizer.update_quantization_recipe(".*", operation, algorithm_key=_NOT)
    for layer in mixture.layers:
        regex = rf"/{re.escape(layer)}(_\d+)?/"
        quantizer.update_quantization_recipe(regex, _ALL, algorithm_key=_NOT)
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    image = re.escape(graph.tensors[graph.outputs[0]].name.decode())
    quantizer.update_quantization_recipe(image, _ALL, algorithm_key=_NOT)


def _quantized(quantizer: Quantizer, ranges: Ranges | None = None) -> bytes:
    with _quiet():
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _moving_integers(content: bytes) -> bytes:
    """Keep values int8 in operations that only choose or move them, which the quantizer lacks."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    codes = [flatbuffer.get_builtin_code_from_operator_code(code) for code in model.operatorCodes]
    maker = {operator.outputs[0]: operator for operator in graph.operators}
    for operator in graph.operators:
        before = maker.get(operator.inputs[0]) if len(operator.inputs) else None
        if codes[operator.opcodeIndex] not in _MOVING or before is None:
            continue
        source, result = graph.tensors[before.inputs[0]], graph.tensors[operator.outputs[0]]
        after = [one for one in graph.operators if operator.outputs[0] in one.inputs]
        if (
            codes[before.opcodeIndex] == Op.DEQUANTIZE
            and source.type == flatbuffer.TensorType.INT8
            and all(codes[one.opcodeIndex] == Op.QUANTIZE for one in after)
        ):
            operator.inputs[0] = before.inputs[0]
            result.type, result.quantization = source.type, source.quantization
    read = {index for operator in graph.operators for index in operator.inputs}
    graph.operators = [
        operator
        for operator in graph.operators
        if codes[operator.opcodeIndex] != Op.DEQUANTIZE
        or operator.outputs[0] in read
        or operator.outputs[0] in graph.outputs
    ]
    return bytes(flatbuffer.convert_object_to_bytearray(model))


def _input_name(content: bytes) -> str:
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    return model.signatureDefs[0].inputs[0].name.decode()


@contextlib.contextmanager
def _quiet():
    """Silence the quantizer's bar, which counts wrongly, and its hints to its authors."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
