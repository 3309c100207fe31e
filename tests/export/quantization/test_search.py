import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.export.quantization import ranges, search
from keras_rdanet.export.quantization.tflite import MixedPrecision
from tests.export.quantization.files import SIDE, converted, run


@pytest.mark.parametrize(
    ("wild", "is_hopeless", "ends"),
    [(1, True, (70, 90)), (7, False, (80, 97.5))],
    ids=["a rare and hopeless tile is clipped", "what is common is not"],
)
def test_the_percentile_that_loses_least_is_chosen(content, tiles, wild, is_hopeless, ends):
    degraded = tiles.degraded.copy()
    degraded[:wild] *= 5
    target = np.clip(run(content, degraded), 0, 1)
    if is_hopeless:
        target[:wild] = 1 - target[:wild]
    extremes = ranges.calibrate(content, degraded)
    percentile, losses = search.choose_percentile(
        content, extremes, dataclasses.replace(tiles, degraded=degraded, target=target)
    )
    assert list(losses) == list(search.PERCENTILES)
    assert losses[percentile] == min(losses.values())
    assert ends[0] <= percentile <= ends[1], losses


def test_precision_gets_finer_until_the_budget_is_met(content, extremes, tiles):
    found = ranges.ranges_of(content, extremes)
    loose, tried = search.choose_mixed_precision(content, found, tiles, budget=100)
    assert loose == MixedPrecision()
    assert len(tried) == 1
    strict, tried = search.choose_mixed_precision(content, found, tiles, budget=-100)
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
    found = ranges.ranges_of(content, ranges.calibrate(content, tiles.degraded))
    _, tried = search.choose_mixed_precision(content, found, perfect, budget=-1)
    losses = {len(one["float layers"]): one["loss dB"] for one in tried}
    assert set(losses) == {0, 3, 4}  # bisected
    mixed, _ = search.choose_mixed_precision(content, found, perfect, budget=losses[3] + 1e-3)
    assert 1 <= len(mixed.layers) <= 3
    assert mixed.operations


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
    found = ranges.ranges_of(content, ranges.calibrate(content, degraded))
    mixed, tried = search.choose_mixed_precision(content, found, dark)
    assert tried[0]["loss dB"] == search.UNUSABLE
    assert "DIV" in mixed.operations


def test_layers_are_named_and_the_one_that_hurts_comes_first(content, extremes, tiles):
    found = ranges.ranges_of(content, extremes)
    assert search.layers_of(content) == ("head", "tail")
    perfect = dataclasses.replace(tiles, target=np.clip(run(content, tiles.degraded), 0, 1))
    losses = search.layer_losses(content, found, perfect)
    assert set(losses) == {"head", "tail"}
    assert list(losses.values()) == sorted(losses.values(), reverse=True)
    assert min(losses.values()) > 3
