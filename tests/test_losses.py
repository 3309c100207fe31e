import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.losses import RestorationLoss, charbonnier, edge, laplacian

KERNEL = np.outer(*[[0.05, 0.25, 0.4, 0.25, 0.05]] * 2)


def images(seed, height=9, width=12):
    return np.random.default_rng(seed).random((2, height, width, 3), np.float32)


def blur(image):  # one channel, in plain loops
    padded = np.pad(image, 2, mode="edge")
    rows, columns = image.shape
    return np.array(
        [
            [(padded[i : i + 5, j : j + 5] * KERNEL).sum() for j in range(columns)]
            for i in range(rows)
        ]
    )


def test_laplacian_by_hand():
    batch = images(0)
    result = ops.convert_to_numpy(laplacian(batch))
    for n, c in [(0, 0), (1, 2)]:
        kept = np.zeros((9, 12))
        kept[::2, ::2] = 4 * blur(batch[n, :, :, c])[::2, ::2]
        np.testing.assert_allclose(result[n, ..., c], batch[n, ..., c] - blur(kept), atol=1e-6)


def test_mse_is_a_mean_over_all_elements():
    target, restored = images(0), images(1)
    expected = np.mean((target - restored) ** 2)
    assert float(RestorationLoss("mse")(target, restored)) == pytest.approx(expected, rel=1e-6)


def test_real_noise_recipe_sums_charbonnier_and_a_tenth_of_the_edges_of_clipped_images():
    target, restored = images(0), images(1) * 3 - 1
    clipped = np.clip(restored, 0, 1)
    expected = np.mean(np.sqrt((clipped - target) ** 2 + 1e-6))
    expected += 0.1 * float(ops.mean(edge(target, clipped)))
    loss = RestorationLoss("charbonnier", edge_weight=0.1, clip=True)
    assert float(loss(target, restored)) == pytest.approx(expected, rel=1e-6)


def test_equal_images_cost_epsilon():
    target = images(0)
    np.testing.assert_allclose(ops.convert_to_numpy(charbonnier(target, target)), 1e-3, rtol=1e-5)


def test_loss_survives_serialisation():
    loss = RestorationLoss("charbonnier", edge_weight=0.1, clip=True)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()


def test_unknown_pixel_loss_lists_the_known():
    with pytest.raises(ValueError, match="charbonnier"):
        RestorationLoss("huber")
