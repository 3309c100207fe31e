import numpy as np
import pytest

from keras_rdanet.image.sheets import sheet, side_by_side, split


def contains(picture, image):
    """Whether `image` occurs in `picture`, pixel for pixel."""
    height, width = image.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width, 3))[:, :, 0]
    corners = np.argwhere((windows[:, :, 0, 0] == image[0, 0]).all(axis=-1))
    return any(np.array_equal(windows[y, x], image) for y, x in corners)


def test_pictures_stand_in_the_order_given_under_their_titles():
    red, blue = np.zeros((2, 200, 180, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    picture = side_by_side([("red", red), ("blue", blue)])
    assert picture.dtype == np.uint8
    assert contains(picture, red)
    assert contains(picture, blue)
    reds, blues = (
        np.argwhere((picture == color).all(axis=-1)) for color in (red[0, 0], blue[0, 0])
    )
    assert reds[:, 1].max() < blues[:, 1].min()
    captions = picture[: reds[:, 0].min()]
    assert (captions == 0).all(axis=-1).any()  # ink above the pictures


def test_small_crops_grow_by_nearest_neighbour():
    crop = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert contains(side_by_side([("crop", crop)]), crop.repeat(4, 0).repeat(4, 1))


def test_depths_and_gray_are_shown_as_8_bit_rgb():
    gray = np.linspace(0, 1, 160 * 160, dtype=np.float32).reshape(160, 160)
    expected = np.rint(gray * 255).astype(np.uint8)[..., np.newaxis].repeat(3, axis=-1)
    for image in (gray, gray[..., np.newaxis], np.rint(gray * 65535).astype(np.uint16)):
        shown = side_by_side([("gray", image)])
        window = shown[-166:-6, 6:166]
        assert np.abs(window.astype(int) - expected).max() <= (image.dtype == np.uint16)


def test_a_long_title_is_not_cut():
    image = np.zeros((160, 160, 3), np.uint8)
    title = "restored by a network with a very long name, 31.23 dB"
    assert side_by_side([(title, image)]).shape[1] > 300
    assert side_by_side([("short", image)]).shape[1] == 172


def test_rows_of_different_lengths_make_a_grid():
    image = np.full((160, 160, 3), 128, np.uint8)
    one = sheet([[("a", image)]])
    grid = sheet([[("a", image), ("b", image)], [("c", image)]])
    assert grid.shape[0] == 2 * one.shape[0] - 6
    assert (grid == 128).all(axis=-1).sum() >= 3 * 160 * 160
    with pytest.raises(ValueError, match="at least one"):
        sheet([])


def test_split_shows_before_on_the_left_and_after_on_the_right():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, 30, 50, 3), dtype=np.uint8)
    picture = split(before, after)
    np.testing.assert_array_equal(picture[:, :24], before[:, :24])
    np.testing.assert_array_equal(picture[:, 26:], after[:, 26:])
    assert (picture[:, 24] == 0).all()
    assert (picture[:, 25] == 255).all()
    with pytest.raises(ValueError, match="one size"):
        split(before, after[:-1])
