import numpy as np
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

from keras_rdanet.export.quantization import ranges, tflite
from tests.export.quantization.files import operations


def test_extremes_of_every_tile_are_recorded(extremes, tiles):
    (name,) = [name for name in extremes if "degraded" in name]
    flat = tiles.degraded.reshape(len(tiles.degraded), -1)
    np.testing.assert_allclose(extremes[name]["min"], flat.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(extremes[name]["max"], flat.max(axis=1), rtol=1e-6)


def test_ranges_hold_zero_clip_outliers_and_are_never_empty(content):
    dead = {"min": np.full(100, 0.5), "max": np.full(100, 0.5)}
    wide = {"min": np.full(100, -1.0), "max": np.append(np.full(99, 2.0), 50.0)}
    found = ranges.ranges_of(
        content,
        {"dead": dead, "zero": {k: 0 * v for k, v in dead.items()}, "wide": wide}
        | everything(content),
    )
    np.testing.assert_allclose([found["dead"]["min"], found["dead"]["max"]], [[0], [0.5]])
    assert found["zero"]["max"] - found["zero"]["min"] >= ranges.MIN_RANGE
    np.testing.assert_allclose([found["wide"]["min"], found["wide"]["max"]], [[-1], [2]])


def everything(content):
    """Extremes of all tensors of a file, each from 0 to a number of its own."""
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    return {
        tensor.name.decode(): {"min": np.zeros(2), "max": np.full(2, 1.0 + i)}
        for i, tensor in enumerate(graph.tensors)
    }


def test_what_is_concatenated_shares_a_range_and_is_not_rescaled(content, extremes):
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    (concatenation,) = [
        one
        for one, name in zip(graph.operators, operations(content), strict=True)
        if name == "CONCATENATION"
    ]
    joined = [
        graph.tensors[i].name.decode() for i in (*concatenation.inputs, *concatenation.outputs)
    ]
    found = ranges.ranges_of(content, extremes)
    assert len({(found[n]["min"].item(), found[n]["max"].item()) for n in joined}) == 1
    made = operations(tflite.to_int8(content, found))
    assert made[made.index("CONCATENATION") - 1] != "QUANTIZE"
