import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.bayer_mosaic import BayerMosaic, bayer_masks, mosaic

# By hand: which of R G B each pixel of a 3x5 image keeps.
PATTERN = ["RGRGR", "GBGBG", "RGRGR"]


def by_hand(image):
    kept = np.zeros_like(image)
    for y, row in enumerate(PATTERN):
        for x, letter in enumerate(row):
            channel = "RGB".index(letter)
            kept[y, x, channel] = image[y, x, channel]
    return kept


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0.1, 1, (2, 3, 5, 3)).astype(np.float32)


def test_each_pixel_keeps_its_colour(images):
    expected = np.stack([by_hand(image) for image in images])
    np.testing.assert_array_equal(mosaic(images[0]), expected[0])
    np.testing.assert_array_equal(BayerMosaic()(tf.constant(images), [1, 2]), expected)


def test_sixteen_bits_stay_sixteen_bits():
    image = np.full((2, 2, 3), 40_000, np.uint16)
    assert mosaic(image).dtype == np.uint16
    assert mosaic(image).sum() == 4 * 40_000


def test_masks_start_anywhere_on_the_sensor(images):
    whole = bayer_masks(tf.constant([1, 6, 8, 3]), tf.zeros((1, 2), tf.int32)).numpy()[0]
    parts = bayer_masks(tf.constant([2, 3, 5, 3]), tf.constant([[1, 0], [2, 3]])).numpy()
    np.testing.assert_array_equal(parts[0], whole[1:4, :5])
    np.testing.assert_array_equal(parts[1], whole[2:5, 3:8])


def test_works_on_sizes_unknown_when_traced(images):
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    traced = tf.function(BayerMosaic(), input_signature=[spec, tf.TensorSpec(2, tf.int32)])
    np.testing.assert_array_equal(traced(images, [1, 2]), mosaic(images))


def test_gray_is_refused(images):
    with pytest.raises(ValueError, match="needs RGB images"):
        BayerMosaic()(tf.constant(images[..., :1]), [1, 2])
    with pytest.raises(ValueError, match="needs RGB images"):
        mosaic(images[..., :1])
