import numpy as np
import pytest

from keras_rdanet.image.color import luma


@pytest.mark.parametrize("shape", [(7, 5, 3), (2, 7, 5, 3)])
def test_float_luma_is_the_weighted_sum(shape):
    rgb = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    gray = luma(rgb)
    assert gray.dtype == np.float32
    np.testing.assert_allclose(gray, expected[..., np.newaxis], atol=1e-6)


@pytest.mark.parametrize(("dtype", "levels"), [("uint8", 0.51), ("uint16", 1.5)])
def test_integer_luma_is_the_weighted_sum_to_a_level(dtype, levels):
    rgb = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (64, 64, 3), endpoint=True)
    gray = luma(rgb.astype(dtype))
    assert gray.dtype == dtype
    exact = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - exact).max() < levels  # fixed-point weights


def test_gray_stays_the_same_gray():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(luma(gray.repeat(3, axis=-1)), gray)


@pytest.mark.parametrize("rgb", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_other_channels_and_dtypes_are_refused(rgb):
    with pytest.raises(ValueError, match=r"must be \(\.\.\., W, 3\)"):
        luma(rgb)
