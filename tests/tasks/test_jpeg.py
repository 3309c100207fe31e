import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_rdanet.tasks.jpeg import JPEG, compress


def scene(size, channels, seed=0):
    """A smooth random picture in [0, 1] with an edge, `(size, size, channels)`."""
    waves = np.random.default_rng(seed).uniform(0.1, 0.6, (3, channels))
    y, x = np.mgrid[:size, :size][..., None]
    picture = 0.5 + 0.3 * np.sin(x * waves[0] + y * waves[1] + waves[2] * 9)
    return np.where(x > size // 2, picture, 0.5 * picture).astype(np.float32)


def pillow(image, quality):
    """What another JPEG library makes of an image in [0, 1]."""
    samples = np.rint(image * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(samples.squeeze()).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape) / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [1, 10, 40, 100])
def test_another_encoder_agrees(channels, quality):
    image = scene(37, channels)
    np.testing.assert_allclose(compress(image, quality), pillow(image, quality), atol=1e-6)


def test_flat_blocks_are_rounded_by_the_table_of_the_standard():
    # The DC coefficient is 8 (value - 128); at quality 10 its step is 5 * 16 = 80,
    # so a flat block moves to the nearest 128 + 10 n.
    image = np.full((8, 8, 1), 100 / 255, np.float32)
    np.testing.assert_allclose(compress(image, 10) * 255, 98, atol=1e-4)


def test_values_outside_the_range_are_clipped_first():
    image = scene(16, 1) * 2 - 0.5
    np.testing.assert_array_equal(compress(image, 30), compress(image.clip(0, 1), 30))


def test_batch_is_compressed_image_by_image():
    images = np.stack([scene(24, 3, seed) for seed in range(3)])
    degraded = JPEG(quality=20)(tf.constant(images), [1, 2])
    np.testing.assert_array_equal(degraded, [compress(image, 20) for image in images])


def test_a_range_reaches_both_ends():
    image = scene(16, 1)
    batch = tf.constant(np.stack([image] * 40))
    found = JPEG(quality=(10, 12))(batch, [3, 4]).numpy()
    expected = np.stack([compress(image, quality) for quality in (10, 11, 12)])
    which = (found[:, None] == expected[None]).all(axis=(2, 3, 4))
    assert which.any(axis=1).all()  # nothing else
    assert (which.sum(axis=0) > 5).all()  # and each of them often


def test_same_seed_same_qualities_inside_a_pipeline():
    target = tf.constant(np.stack([scene(16, 1)] * 8))
    degrade = JPEG(quality=[5, 95])
    data = tf.data.Dataset.range(3).map(lambda step: degrade(target, tf.stack([7, step])))
    first, again = list(data), list(data)
    assert data.element_spec.shape == (8, 16, 16, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("quality", [0, 101, 20.0, (40, 10), (10, 200), "10"])
def test_wrong_quality_is_refused(quality):
    with pytest.raises(ValueError, match="`quality` must be an integer of 1-100"):
        JPEG(quality)
