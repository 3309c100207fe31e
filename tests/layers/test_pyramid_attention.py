import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.bicubic import bicubic_matrix
from keras_rdanet.layers.pyramid_attention import PUBLISHED, PyramidAttention, smallest_side

FILTERS, REDUCTION = 4, 2


def features(height=6, width=7, batch=1, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, height, width, FILTERS)).astype("f4")


def attention(seed=0, identity_scale=0.5, resize_mode="scale_factor", **options):
    """A layer with random weights: biases and slopes too."""
    options = {**PUBLISHED, **options}
    layer = PyramidAttention(FILTERS, REDUCTION, identity_scale, resize_mode, **options)
    layer.build((None, None, None, FILTERS))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def run(layer, x):
    return ops.convert_to_numpy(layer(x))


def by_hand(layer, x):
    """The formulas of the paper, one patch at a time, in float64."""
    size = layer.ksize
    before = (size - 1) // 2

    def embed(conv, activation, x):
        kernel, bias = (ops.convert_to_numpy(w).astype("f8") for w in conv.weights)
        x = x @ kernel[0, 0] + bias
        return np.where(x > 0, x, x * ops.convert_to_numpy(activation.alpha).item())

    def patches(x, stride=1):
        """A patch for each stride that fits; zeros outside, an odd one at the bottom and right."""
        counts = [-(-length // stride) for length in x.shape[:2]]
        missing = [
            max((count - 1) * stride + size - length, 0)
            for count, length in zip(counts, x.shape[:2], strict=True)
        ]
        padded = np.pad(x, [(zeros // 2, zeros - zeros // 2) for zeros in missing] + [(0, 0)])
        corners = [(i * stride, j * stride) for i, j in np.ndindex(*counts)]
        return [padded[i : i + size, j : j + size] for i, j in corners]

    x = x.astype("f8")
    height, width = x.shape[:2]
    keys, values = [], []
    for level in layer.levels:
        copy = x
        if level < 1:
            rows, columns = (bicubic_matrix(n, level, layer.resize_mode) for n in (height, width))
            copy = np.stack([rows @ channel @ columns.T for channel in x.transpose(2, 0, 1)], -1)
        keys += patches(embed(layer.key, layer.key_prelu, copy), layer.stride)
        values += patches(embed(layer.value, layer.value_prelu, copy), layer.stride)
    keys = [key / max(np.sqrt((key**2).sum()), 1e-4) for key in keys]
    total = np.zeros((height + size, width + size, FILTERS))
    for p, query in enumerate(patches(embed(layer.query, layer.query_prelu, x))):
        scores = np.array([(query * key).sum() for key in keys])
        weights = np.exp(layer.softmax_scale * (scores - scores.max()))
        if not layer.average:
            weights = np.float64(scores == scores.max())
        patch = sum(w * v for w, v in zip(weights / weights.sum(), values, strict=True))
        total[p // width : p // width + size, p % width : p % width + size] += patch
    inside = total[before : before + height, before : before + width]
    return inside / 4 + layer.identity_scale * x


@pytest.mark.parametrize("resize_mode", ["scale_factor", "size_ratio"])
def test_it_is_what_the_formulas_say(resize_mode):
    layer = attention(resize_mode=resize_mode)
    x = features()
    np.testing.assert_allclose(run(layer, x)[0], by_hand(layer, x[0]), atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": [1.0, 0.7], "ksize": 5, "stride": 2, "softmax_scale": 4},
        {"levels": [0.55]},
        {"levels": [1 - i / 10 for i in range(8)], "resize_mode": "size_ratio"},
        {"ksize": 1, "levels": [1.0]},
        {"ksize": 4, "stride": 3},
        {"ksize": 2, "stride": 4, "softmax_scale": 0.5},
        {"average": False},
        {"average": False, "ksize": 5, "stride": 2, "levels": [0.9, 0.5]},
    ],
    ids=str,
)
def test_every_option_is_what_the_formulas_say(options):
    layer = attention(**options)
    x = features(7, 8)
    assert layer.levels == tuple(options.get("levels", PUBLISHED["levels"]))
    expected = by_hand(layer, x[0])
    np.testing.assert_allclose(run(layer, x)[0], expected, atol=2e-5 * np.ptp(expected))
    model = keras.Sequential([keras.Input((None, None, FILTERS)), layer])
    for size in ((7, 8), (4, 9), (8, 8)):  # unknown to the graph
        x = features(*size)
        np.testing.assert_allclose(model.predict(x, verbose=0), run(layer, x), atol=1e-5)


def test_the_highest_score_is_the_limit_of_a_sharp_softmax():
    x = features()
    sharp, highest = attention(softmax_scale=1e6), attention(average=False)
    np.testing.assert_allclose(run(highest, x), run(sharp, x), atol=1e-5)


def test_a_saved_layer_keeps_its_options_and_old_files_have_those_of_the_paper():
    layer = attention(levels=[1.0, 0.7], ksize=5, stride=2, softmax_scale=4, average=False)
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()
    old = {k: v for k, v in attention().get_config().items() if k not in PUBLISHED}
    assert PyramidAttention.from_config(old).get_config() == attention().get_config() | old


@pytest.mark.parametrize(
    ("levels", "side"), [(PUBLISHED["levels"], 2), ((1.0, 0.5), 2), ((1.0, 1 - 9 / 10), 11)]
)
def test_every_level_of_the_smallest_side_has_a_pixel(levels, side):
    assert smallest_side(levels) == side
    layer = attention(levels=levels)
    assert np.isfinite(run(layer, features(side, side))).all()


def test_the_number_of_queries_at_a_time_does_not_matter():
    x = features(9, 8, batch=2)
    levels = sum(int(9 * s) * int(8 * s) for s in (1, 0.9, 0.8, 0.7, 0.6))
    at_once = run(attention(), x)
    for rows in (1, 7, 72):
        layer = attention(score_memory=4 * 2 * levels * rows)
        np.testing.assert_allclose(run(layer, x), at_once, atol=1e-6 * np.ptp(at_once))


def test_images_do_not_see_each_other():
    layer, x = attention(), features(batch=3)
    together = run(layer, x)
    for i in range(3):
        np.testing.assert_allclose(run(layer, x[i : i + 1])[0], together[i], atol=1e-5)


def test_patches_of_zeros_give_no_nan_and_no_infinite_slope():
    layer = attention()
    for conv in (layer.query, layer.key, layer.value):
        conv.bias.assign(np.zeros(conv.bias.shape))
    model = keras.Sequential([layer])
    model.compile("sgd", "mse", run_eagerly=True)
    model.train_on_batch(np.zeros((1, 3, 3, FILTERS)), np.ones((1, 3, 3, FILTERS)))
    assert all(np.isfinite(w).all() for w in layer.get_weights())
    assert not run(layer, np.zeros((1, 5, 5, FILTERS), "f4")).any()


def test_every_weight_learns_whatever_the_number_of_queries_at_a_time():
    updated = []
    for memory in (2**27, 1):
        layer = attention(score_memory=memory)
        before = layer.get_weights()
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
        model.train_on_batch(features(3, 3), features(3, 3, seed=1))
        updated.append(layer.get_weights())
    assert len(before) == 9
    for start, whole, rows in zip(before, *updated, strict=True):
        assert (np.abs(whole - start) > 1e-7).any()
        np.testing.assert_allclose(rows, whole, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (2, 9), (11, 3)])
def test_the_smallest_images_pass(size):
    assert np.isfinite(run(attention(), features(*size))).all()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_stays_close(precision):
    keras.config.set_dtype_policy(precision)
    try:
        half = attention()
    finally:
        keras.config.set_dtype_policy("float32")
    assert half.query.compute_dtype == precision.removeprefix("mixed_")
    x, whole = features(8, 8), attention()
    expected = run(whole, x)
    difference = np.abs(run(half, x).astype("f4") - expected).max()
    assert difference < 0.03 * np.ptp(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize_mode": "nearest"}, r"\('scale_factor', 'size_ratio'\), got 'nearest'"),
        ({"levels": []}, r"`levels` must be fractions .* got \[\]"),
        ({"levels": [1.0, 1.5]}, "`levels` must be fractions"),
        ({"ksize": 0}, "`ksize` must be at least 1, got 0"),
        ({"stride": 0}, "`stride` must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        attention(**options)
