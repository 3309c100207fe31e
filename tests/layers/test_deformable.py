import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.deformable import DeformableConv2D, deform_conv2d, steering_conv

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 5, 6, 3)).astype("f4")
KERNEL = rng.normal(size=(3, 3, 3, 4)).astype("f4")
ONES = np.ones((2, 5, 6, 9), "f4")


def offsets(rows, columns):
    """The same offset for all taps and positions."""
    return np.tile(np.float32([rows, columns]), (2, 5, 6, 9))


def deform(*arguments):
    return ops.convert_to_numpy(deform_conv2d(*map(ops.convert_to_tensor, arguments)))


def by_hand(x, offsets, modulation, kernel):
    """The formula, one sample at a time."""

    def pixel(image, row, column):
        inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
        return image[row, column] if inside else np.zeros(image.shape[-1])

    batch, height, width = x.shape[:3]
    result = np.zeros((batch, height, width, kernel.shape[-1]))
    for n, r, c, k in np.ndindex(batch, height, width, 9):
        row = r + k // 3 - 1 + float(offsets[n, r, c, 2 * k])
        column = c + k % 3 - 1 + float(offsets[n, r, c, 2 * k + 1])
        sample = sum(
            (1 - abs(row - i)) * (1 - abs(column - j)) * pixel(x[n], int(i), int(j))
            for i in (np.floor(row), np.floor(row) + 1)
            for j in (np.floor(column), np.floor(column) + 1)
        )
        result[n, r, c] += modulation[n, r, c, k] * sample @ kernel[k // 3, k % 3]
    return result


@pytest.mark.parametrize("reach", [0.9, 3.0, 30.0])
def test_it_is_what_the_formula_says(reach):
    steering = rng.uniform(-reach, reach, (2, 5, 6, 18)).astype("f4")
    steering[..., :4] = np.round(steering[..., :4])
    weights = rng.random((2, 5, 6, 9), np.float32)
    expected = by_hand(X, steering, weights, KERNEL)
    np.testing.assert_allclose(deform(X, steering, weights, KERNEL), expected, atol=2e-5)


def test_without_offsets_it_is_a_convolution():
    expected = ops.convert_to_numpy(ops.conv(X, KERNEL, padding="same"))
    np.testing.assert_allclose(deform(X, offsets(0, 0), ONES, KERNEL), expected, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, -2), (-2, 3), (7, 0)])
def test_whole_offsets_move_the_image_and_fill_with_zeros(rows, columns):
    kernel = np.zeros((3, 3, 3, 3), "f4")
    kernel[1, 1] = np.eye(3)
    padded = np.pad(X, ((0, 0), (9, 9), (9, 9), (0, 0)))
    expected = padded[:, 9 + rows : 14 + rows, 9 + columns : 15 + columns]
    np.testing.assert_array_equal(deform(X, offsets(rows, columns), ONES, kernel), expected)


def packed(steering_bias=0.0):
    """A layer that steers itself, as a model."""
    features = keras.Input((None, None, 3))
    steering = steering_conv(name="offset")
    layer = DeformableConv2D(4, name="deform")
    model = keras.Model(features, layer([features, steering(features)]))
    steering.bias.assign(np.zeros(27) + steering_bias)
    return model


def test_it_starts_as_half_a_convolution():
    model = packed()
    layer = model.get_layer("deform")
    bias = np.float32([1, 2, 3, 4])
    layer.bias.assign(bias)
    expected = 0.5 * ops.convert_to_numpy(ops.conv(X, layer.kernel, padding="same"))
    restored = ops.convert_to_numpy(model(X))
    np.testing.assert_allclose(restored - expected, bias + 0 * expected, atol=1e-5)
    bound = (9 * 3) ** -0.5
    assert bound * 0.8 < np.abs(ops.convert_to_numpy(layer.kernel)).max() <= bound


def test_gradients_are_those_of_finite_differences():
    start = rng.uniform(0.2, 0.8, 27).astype("f4")  # off the pixels, where it can be differentiated
    model = packed(start)
    steering = model.get_layer("offset")
    target = rng.normal(size=(2, 5, 6, 4)).astype("f4")

    def loss(bias):
        steering.bias.assign(bias)
        return np.mean((ops.convert_to_numpy(model(X)).astype("f8") - target) ** 2)

    step = 0.05 * np.eye(27)
    expected = [(loss(start + e) - loss(start - e)) / 0.1 for e in step]
    steering.bias.assign(start)
    before = [ops.convert_to_numpy(w) for w in model.weights]
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    model.train_on_batch(X, target)
    gradients = [
        old - ops.convert_to_numpy(w) for old, w in zip(before, model.weights, strict=True)
    ]
    assert all(np.abs(gradient).max() > 1e-4 for gradient in gradients)  # kernels and biases, too
    found = next(g for g, w in zip(gradients, model.weights, strict=True) if w is steering.bias)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_offsets_keep_their_precision_among_halves():
    # Position 32.3 would be 32.25 in bfloat16.
    x = np.zeros((1, 3, 40, 1), "f4")
    x[..., 33, 0] = 1
    steering = np.zeros((1, 3, 40, 27), "f4")
    steering[..., 1:18:2] = 0.3
    layer = DeformableConv2D(1, dtype="mixed_bfloat16")
    layer.build([x.shape, steering.shape])
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 2
    layer.kernel.assign(kernel)
    restored = layer([x, steering])
    assert keras.backend.standardize_dtype(restored.dtype) == "bfloat16"
    value = ops.convert_to_numpy(ops.cast(restored, "float32"))[0, 1, 32, 0]
    np.testing.assert_allclose(value, 0.3, rtol=2**-8)
