from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_rdanet.export.formats.tflite import convert
from keras_rdanet.export.quantization import fine_tuning, ranges, tflite
from keras_rdanet.models import registry

PHOTO = Path(__file__).parents[3] / "examples" / "astronaut.png"
SIDE = 32
SPREAD = 32


@pytest.fixture(scope="module")
def model():
    """A network that is hard to quantize: channels of one tensor differ by factors up to 1024."""
    keras.utils.set_random_seed(0)
    model = registry.build("rdn_gray", num_blocks=1, filters=8, growth_rate=8, num_layers=2)
    block = model.get_layer("residual_dense_blocks_0")
    layers = [*block.dense_layers, block.local_feature_fusion]
    random = np.random.default_rng(0)
    for i, layer in enumerate(block.dense_layers):
        # Positive factors pass a ReLU; what reads the channels takes them back.
        factors = SPREAD ** random.uniform(-1, 1, 8).astype(np.float32)
        layer.set_weights([weight * factors for weight in layer.get_weights()])
        for reader in layers[i + 1 :]:
            kernel, bias = reader.get_weights()
            kernel[:, :, 8 * (i + 1) : 8 * (i + 2)] /= factors[:, None]
            reader.set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def degraded():
    photo = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)[..., None] / np.float32(255)
    random = np.random.default_rng(0)
    corners = random.integers(0, min(photo.shape[:2]) - SIDE, (64, 2))
    tiles = np.stack([photo[y : y + SIDE, x : x + SIDE] for y, x in corners])
    return tiles + random.normal(0, 0.05, tiles.shape).astype(np.float32)


@pytest.fixture(scope="module")
def patches(model, degraded):
    """What the network is to give is what it gives in float32."""
    pairs = tf.data.Dataset.from_tensor_slices((degraded, model(degraded)))
    return pairs.shuffle(64, seed=0).batch(8).repeat()


def int8_error(model, degraded, expected):
    """The mean distance of an int8 file to what is expected."""
    content = convert(model, SIDE)
    found = ranges.ranges_of(content, ranges.calibrate(content, degraded))
    interpreter = Interpreter(model_content=tflite.to_int8(content, found))
    run = interpreter.get_signature_runner()
    made = np.concatenate([run(degraded=image[None])["restored"] for image in degraded])
    return np.abs(made - expected).mean()


def opened(model):
    """The graph that is fine-tuned, and the network that it belongs to."""
    student = fine_tuning._copy(model)
    return fine_tuning._opened(student, (8, SIDE, SIDE, model.channels)), student


def test_fine_tuned_weights_lose_less_in_int8(model, degraded, patches):
    expected, before = model(degraded).numpy(), model.get_weights()
    tuned = fine_tuning.fine_tune(model, patches, 40, learning_rate=1e-4)
    assert type(tuned) is type(model)
    assert [v.path for v in tuned.variables] == [v.path for v in model.variables]
    for own, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)
    plain = int8_error(model, degraded, expected)
    assert plain > 0.005
    assert int8_error(tuned, degraded, expected) < 0.6 * plain


def test_what_it_learns_from_errs_as_much_as_a_file(model, degraded, patches):
    graph, student = opened(model)
    rounded = fine_tuning._rounding(graph, (batch for batch, _ in patches.take(8)))
    still = fine_tuning._step(student, rounded, keras.optimizers.SGD(0.0))
    error = np.mean([still(*pair) for pair in patches.take(8)])
    assert error == pytest.approx(int8_error(model, degraded, model(degraded)), rel=0.2)


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("tsp_rdanet_tiny_rgb", {"filters": 8}),
        ("panet_gray", {"filters": 4, "num_blocks": 2}),
    ],
)
def test_an_opened_network_gives_the_same_pictures(preset, overrides):
    model = registry.build(preset, **overrides)
    graph, student = opened(model)
    images = np.random.default_rng(0).random((8, SIDE, SIDE, model.channels), np.float32)
    found, expected = keras.tree.flatten(graph(images)), keras.tree.flatten(model(images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert len(graph.trainable_variables) == len(student.trainable_variables)


def test_what_is_concatenated_shares_a_range_and_the_image_keeps_its_values(model, patches):
    rounded = fine_tuning._rounding(opened(model)[0], (batch for batch, _ in patches.take(2)))
    layers = [layer for layer in rounded.layers if isinstance(layer, fine_tuning.Rounding)]
    ends = [layer.ends for layer in layers]
    # The block's input, its two dense layers and its output, which is the sole fused one.
    assert max(map(ends.count, ends)) == 3
    assert all(low <= 0 <= high for low, high in ends)
    names = [layer.name for layer in rounded.layers]
    assert names[-1].startswith("output")


def test_kernels_have_255_steps_for_each_channel_of_the_output():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype(np.float32)
    kernel[..., 1] *= 100
    for axis, turned in ((-1, kernel), (-2, kernel.swapaxes(2, 3))):
        rounded = np.asarray(fine_tuning._rounded(tf.constant(turned), axis))
        rounded = rounded.swapaxes(2, 3) if axis == -2 else rounded
        for channel in range(2):
            largest = np.abs(kernel[..., channel]).max()
            steps = 127 * rounded[..., channel] / largest
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
            np.testing.assert_allclose(
                rounded[..., channel], kernel[..., channel], atol=largest / 250
            )
    bias = tf.constant([0.123456, 7.0])
    np.testing.assert_array_equal(fine_tuning._rounded(bias, -1), bias)


def test_no_steps_are_refused(model, patches):
    with pytest.raises(ValueError, match="must be positive, got 0"):
        fine_tuning.fine_tune(model, patches, 0)
