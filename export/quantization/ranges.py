"""The ranges of a TFLite file's values, measured on calibration tiles."""

import contextlib
import io
import warnings

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer
from ai_edge_quantizer import calibrator, recipe
from ai_edge_quantizer.recipe_manager import RecipeManager

from keras_rdanet.profiling import usable_cores

# Name of a tensor -> its smallest and largest value.
Ranges = dict[str, dict[str, np.ndarray]]
# Name of a tensor -> its smallest and largest value in each tile.
Extremes = dict[str, dict[str, np.ndarray]]

# Percentile of the extremes of fine-tuning, which has no file to choose one by.
PERCENTILE = 95

# Gates and branches that were never open in training have no range at all.
# XNNPACK refuses scales that differ too much, and this resolution suffices.
MIN_RANGE = 1e-2


def calibrate(content: bytes, tiles: np.ndarray) -> Extremes:
    """Record the smallest and the largest value of every tensor in every tile.

    Args:
        content: A TFLite file in float32.
        tiles: `(N, side, side, C)` float32, of the size that the file takes.
    """
    recipes = RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    with silence():
        # The other mode keeps all tensors: gigabytes for a tile of 256 pixels.
        recorder = calibrator.Calibrator(
            content,
            num_threads=usable_cores(),
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=_append,
        )
        name = _input_name(content)
        samples = [{name: tile[np.newaxis]} for tile in tiles]
        recorder.calibrate({"serving_default": samples}, recipes)
    return recorder.get_model_qsvs()


def ranges_of(content: bytes, extremes: Extremes, percentile: float = PERCENTILE) -> Ranges:
    """Summarise extremes; what is concatenated gets one range, so that nothing is rescaled.

    Args:
        content: The TFLite file that was calibrated.
        extremes: The extremes that `calibrate` recorded.
        percentile: Percentile of the extremes of all tiles, from 0 to 100, at
            which a range ends. Below 100 the values of some tiles are clipped
            and all others get finer steps.
    """
    ranges = {}
    for name, found in extremes.items():
        # Quantized ranges always hold 0.
        low = np.minimum(np.percentile(found["min"], 100 - percentile, keepdims=True), 0)
        high = np.maximum(np.percentile(found["max"], percentile, keepdims=True), 0)
        ranges[name] = {"min": low, "max": np.maximum(high, low + MIN_RANGE)}
    for group in _concatenated(content):
        joined = {
            "min": min(ranges[name]["min"] for name in group),
            "max": max(ranges[name]["max"] for name in group),
        }
        ranges.update((name, joined) for name in group)
    return ranges


@contextlib.contextmanager
def silence():
    """Silence the quantizer's bar, which counts wrongly, and its hints to its authors."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _concatenated(content: bytes) -> list[set[str]]:
    """Groups of the tensors that concatenations connect, by name."""
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    groups: list[set[str]] = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if (
            flatbuffer.get_builtin_code_from_operator_code(code)
            == flatbuffer.BuiltinOperator.CONCATENATION
        ):
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


def _input_name(content: bytes) -> str:
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    return model.signatureDefs[0].inputs[0].name.decode()
