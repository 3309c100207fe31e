import numpy as np
import pytest

from keras_rdanet.image.color import limited_luma, limited_luma_8bit, luma


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


# The corners of the RGB cube, from the matrix of ITU-R BT.601 as MATLAB has it.
@pytest.mark.parametrize(
    ("rgb", "y"),
    [
        ((0, 0, 0), 16),
        ((255, 255, 255), 235),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((51, 102, 204), 16 + 0.2 * 65.481 + 0.4 * 128.553 + 0.8 * 24.966),
    ],
)
def test_limited_luma_is_that_of_matlab(rgb, y):
    image = np.full((2, 3, 3), rgb, np.uint8)
    assert limited_luma(image).shape == (2, 3, 1)
    np.testing.assert_allclose(limited_luma(image), y, atol=1e-9)
    assert limited_luma_8bit(image).dtype == np.uint8
    np.testing.assert_array_equal(limited_luma_8bit(image), round(y))


@pytest.mark.parametrize("rgb", [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_limited_luma_refuses_other_channels_and_dtypes(rgb):
    with pytest.raises(ValueError, match=r"must be \(\.\.\., 3\) uint8"):
        limited_luma(rgb)
