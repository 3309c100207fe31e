"""Choosing ranges and precisions with which an int8 file loses little on calibration tiles."""

import bisect
import re
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

from keras_rdanet.export.quantization.calibration import CalibrationTiles
from keras_rdanet.export.quantization.ranges import Extremes, Ranges, ranges_of
from keras_rdanet.export.quantization.tflite import MixedPrecision, to_int8
from keras_rdanet.profiling import usable_cores

# Largest loss of a file on calibration tiles, in dB. Flat tiles and tiles with little noise lose
# most: with such a file test pictures lose 0.1 to 0.2 dB.
BUDGET = 0.6

# Loss in dB that counts for a file that cannot compute every tile: division refuses a divisor
# that eight bits round to zero.
UNUSABLE = 100.0

# Number of tiles that files are compared on.
COMPARED = 96

# Squared error that is not visible: one gray level of 255.
UNSEEN = (1 / 255) ** 2

# Percentiles of the extremes of tiles at which ranges may end. With all of the extremes
# steps are coarse and little noise suffers, with few of them much noise does;
# which is best depends on the weights.
PERCENTILES = (60, 70, 80, 90)

_SUMS = ("ADD", "SUB")
_GATES = ("MUL", "LOGISTIC", "MEAN", "SUM", "DIV", "SOFTMAX", "TANH")

# From the fastest file to slower and more precise ones.
MIXED_PRECISIONS = (MixedPrecision(), MixedPrecision(_SUMS), MixedPrecision(_SUMS + _GATES))


def choose_percentile(
    content: bytes, extremes: Extremes, tiles: CalibrationTiles, count: int = COMPARED
) -> tuple[int, dict[int, float]]:
    """Find the percentile of extremes with which int8 loses least on tiles.

    Args:
        content: A TFLite file in float32 that takes such tiles.
        extremes: The extremes of its tensors, which `calibrate` recorded.
        tiles: The tiles to measure on.
        count: Number of tiles to measure on.

    Returns:
        One of `PERCENTILES`, and the loss of a file with each of them, in dB.
    """
    score = _scorer(content, tiles, count)
    losses = {
        percentile: round(score(to_int8(content, ranges_of(content, extremes, percentile))), 4)
        for percentile in PERCENTILES
    }
    return min(losses, key=losses.__getitem__), losses


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
        ranges: The ranges of its tensors.
        tiles: The tiles to measure on; some are picked.

    Returns:
        Layer -> loss in dB, largest first.
    """
    layers = layers_of(content)
    score = _scorer(content, tiles, 12, unseen=0)
    losses = {}
    for layer in layers:
        others = tuple(other for other in layers if other != layer)
        losses[layer] = score(to_int8(content, ranges, MixedPrecision(_SUMS, others)))
    return dict(sorted(losses.items(), key=lambda item: -item[1]))


def choose_mixed_precision(
    content: bytes,
    ranges: Ranges,
    tiles: CalibrationTiles,
    budget: float = BUDGET,
    count: int = COMPARED,
) -> tuple[MixedPrecision, list[dict]]:
    """Find the fastest mix of int8 and float32 that loses no more than `budget`.

    First sums, then gates stay in float32; if that does not suffice, as few
    layers as do, those that hurt most. How many is found by bisection.

    Args:
        content: A TFLite file in float32 that takes such tiles.
        ranges: The ranges of its tensors.
        tiles: The tiles to measure on.
        budget: Largest loss, in dB.
        count: Number of tiles to measure on.

    Returns:
        The mixed precision, the most precise one if none is good enough; and each
        that was tried, with its loss.
    """
    score = _scorer(content, tiles, count)
    tried: dict[MixedPrecision, float] = {}

    def fits(mixed):
        tried[mixed] = score(to_int8(content, ranges, mixed))
        return tried[mixed] <= budget

    if not any(fits(mixed) for mixed in MIXED_PRECISIONS):
        layers = tuple(layer_losses(content, ranges, tiles))
        finer = [MixedPrecision(_SUMS + _GATES, layers[:end]) for end in range(1, len(layers))]
        bisect.bisect_left(finer, True, key=fits)
    good = [mixed for mixed, loss in tried.items() if loss <= budget]
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
