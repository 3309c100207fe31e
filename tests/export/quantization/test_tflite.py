import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

from keras_rdanet.export.quantization import tflite as quantization
from keras_rdanet.export.quantization.calibration import CalibrationTiles
from keras_rdanet.export.quantization.tflite import Mixture

SIDE = 16


@pytest.fixture(scope="module")
def content():
    """A file of two layers and a gate, whose output is the input and a residual."""
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.3, (3, 3, 1, 8)).astype(np.float32)
    mix = random.normal(0, 0.1, (3, 3, 4, 1)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32, "degraded")])
    def net(degraded):
        x = tf.nn.relu(tf.nn.conv2d(degraded, kernel, 1, "SAME", name="net/head/Conv2D"))
        x = tf.concat([x, 0.25 * x], -1, name="net/concat")
        x = x * tf.sigmoid(tf.reduce_max(x, -1, keepdims=True))
        x = tf.nn.depth_to_space(x, 2)
        x = tf.nn.conv2d(x, mix, 2, "SAME", name="net/tail/Conv2D")
        return {"restored": degraded + x}

    return converted(net)


def converted(function):
    """A TFLite file in float32 of a function without variables."""
    concrete = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


@pytest.fixture(scope="module")
def tiles():
    random = np.random.default_rng(1)
    target = random.random((24, SIDE, SIDE, 1), np.float32)
    degraded = target + random.normal(0, 0.05, target.shape).astype(np.float32)
    return CalibrationTiles(degraded, target, hashlib.sha256(degraded.tobytes()).hexdigest())


@pytest.fixture(scope="module")
def observed(content, tiles):
    return quantization.observe(content, tiles.degraded)


def run(content, images):
    interpreter = Interpreter(model_content=content)
    function = interpreter.get_signature_runner()
    return np.concatenate([function(degraded=image[None])["restored"] for image in images])


def operations(content):
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    names = {v: k for k, v in vars(flatbuffer.BuiltinOperator).items() if k.isupper()}
    codes = [names[flatbuffer.get_builtin_code_from_operator_code(c)] for c in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def test_every_tile_is_observed(observed, tiles):
    (name,) = [name for name in observed if "degraded" in name]
    flat = tiles.degraded.reshape(len(tiles.degraded), -1)
    np.testing.assert_allclose(observed[name]["min"], flat.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(observed[name]["max"], flat.max(axis=1), rtol=1e-6)


def test_ranges_hold_zero_clip_outliers_and_are_never_empty(content):
    dead = {"min": np.full(100, 0.5), "max": np.full(100, 0.5)}
    wide = {"min": np.full(100, -1.0), "max": np.append(np.full(99, 2.0), 50.0)}
    ranges = quantization.ranges_of(
        content,
        {"dead": dead, "zero": {k: 0 * v for k, v in dead.items()}, "wide": wide}
        | everything(content),
    )
    np.testing.assert_allclose([ranges["dead"]["min"], ranges["dead"]["max"]], [[0], [0.5]])
    assert ranges["zero"]["max"] - ranges["zero"]["min"] >= quantization.MIN_RANGE
    np.testing.assert_allclose([ranges["wide"]["min"], ranges["wide"]["max"]], [[-1], [2]])


@pytest.mark.parametrize(
    ("wild", "is_hopeless", "ends"),
    [(1, True, (0.7, 0.9)), (7, False, (0.8, 0.975))],
    ids=["a rare and hopeless tile is clipped", "what is common is not"],
)
def test_the_coverage_that_loses_least_is_chosen(content, tiles, wild, is_hopeless, ends):
    degraded = tiles.degraded.copy()
    degraded[:wild] *= 5
    target = np.clip(run(content, degraded), 0, 1)
    if is_hopeless:
        target[:wild] = 1 - target[:wild]
    observed = quantization.observe(content, degraded)
    coverage, losses = quantization.choose_coverage(
        content, observed, dataclasses.replace(tiles, degraded=degraded, target=target)
    )
    assert list(losses) == list(quantization.COVERAGES)
    assert losses[coverage] == min(losses.values())
    assert ends[0] <= coverage <= ends[1], losses


def everything(content):
    """Observations of all tensors of a file, each from 0 to a number of its own."""
    graph = flatbuffer.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    return {
        tensor.name.decode(): {"min": np.zeros(2), "max": np.full(2, 1.0 + i)}
        for i, tensor in enumerate(graph.tensors)
    }


def test_what_is_concatenated_shares_a_range_and_is_not_rescaled(content, observed):
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
    ranges = quantization.ranges_of(content, observed)
    assert len({(ranges[n]["min"].item(), ranges[n]["max"].item()) for n in joined}) == 1
    made = operations(quantization.to_int8(content, ranges))
    assert made[made.index("CONCATENATION") - 1] != "QUANTIZE"


def test_what_chooses_and_moves_values_takes_integers(content, observed):
    ranges = quantization.ranges_of(content, observed)
    full = operations(quantization.to_full_int8(content, ranges))
    assert {"REDUCE_MAX", "DEPTH_TO_SPACE"} <= set(full)
    assert "DEQUANTIZE" not in full


def test_the_mixture_gets_finer_until_the_budget_is_met(content, observed, tiles):
    ranges = quantization.ranges_of(content, observed)
    loose, tried = quantization.choose_mixture(content, ranges, tiles, budget=100)
    assert loose == Mixture()
    assert len(tried) == 1
    strict, tried = quantization.choose_mixture(content, ranges, tiles, budget=-100)
    losses = {(one["float operations"], one["float layers"]): one["loss dB"] for one in tried}
    assert len(tried) == 4
    assert losses[strict.operations, strict.layers] == min(losses.values())


def test_as_few_layers_stay_in_float_as_meet_the_budget(tiles):
    random = np.random.default_rng(2)
    kernels = {
        name: random.normal(0, 0.25, (3, 3, inner, outer)).astype(np.float32)
        for name, inner, outer in (("a", 1, 8), ("b", 8, 8), ("c", 8, 8), ("d", 8, 8), ("e", 8, 1))
    }

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32, "degraded")])
    def net(degraded):
        x = degraded
        for name, kernel in kernels.items():
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME", name=f"net/{name}/Conv2D"))
        return {"restored": degraded + 0.1 * x}

    content = converted(net)
    perfect = dataclasses.replace(tiles, target=np.clip(run(content, tiles.degraded), 0, 1))
    ranges = quantization.ranges_of(content, quantization.observe(content, tiles.degraded))
    _, tried = quantization.choose_mixture(content, ranges, perfect, budget=-1)
    losses = {len(one["float layers"]): one["loss dB"] for one in tried}
    assert set(losses) == {0, 3, 4}  # bisected
    mixture, _ = quantization.choose_mixture(content, ranges, perfect, budget=losses[3] + 1e-3)
    assert 1 <= len(mixture.layers) <= 3
    assert mixture.operations


def test_files_that_divide_by_zero_are_not_chosen(tiles):
    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32, "degraded")])
    def net(degraded):
        brightest = tf.reduce_max(degraded, axis=(1, 2, 3), keepdims=True)
        return {"restored": degraded + 0.1 * (degraded / (1e-3 + brightest))}

    content = converted(net)
    degraded = np.clip(tiles.degraded, 0, 1)
    degraded[::2] *= 1e-3
    dark = dataclasses.replace(
        tiles, degraded=degraded, target=np.clip(run(content, degraded), 0, 1)
    )
    ranges = quantization.ranges_of(content, quantization.observe(content, degraded))
    mixture, tried = quantization.choose_mixture(content, ranges, dark)
    assert tried[0]["loss dB"] == quantization.UNUSABLE
    assert "DIV" in mixture.operations


def test_layers_are_named_and_the_one_that_hurts_comes_first(content, observed, tiles):
    ranges = quantization.ranges_of(content, observed)
    assert quantization.layers_of(content) == ("head", "tail")
    perfect = dataclasses.replace(tiles, target=np.clip(run(content, tiles.degraded), 0, 1))
    losses = quantization.layer_losses(content, ranges, perfect)
    assert set(losses) == {"head", "tail"}
    assert list(losses.values()) == sorted(losses.values(), reverse=True)
    assert min(losses.values()) > 3
    kept = quantization.to_int8(content, ranges, Mixture(layers=("head", "tail")))
    assert operations(kept).count("CONV_2D") == 2
