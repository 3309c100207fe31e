import numpy as np
import pytest

from keras_rdanet.evaluation.published_tiling import chop


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((1, height, width, 3), np.float32)


def enlarge(images, scale):
    return images.repeat(scale, axis=1).repeat(scale, axis=2)


def tiles_of(images, **options):
    """Heights and widths of the tiles that the function is called with."""
    seen = []

    def function(tiles):
        seen.append(tiles.shape[1:3])
        return enlarge(tiles, options.get("scale", 1))

    chop(function, images, **options)
    return seen


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(61, 75), (157, 178), (20, 200)])
def test_a_function_of_single_pixels_sees_no_tiles(size, scale):
    x = image(*size)
    restored = chop(lambda tiles: enlarge(tiles, scale), x, scale=scale)
    np.testing.assert_array_equal(restored, enlarge(x, scale))


def test_each_quarter_comes_from_the_tile_at_its_corner():
    x = image(43, 50)
    restored = chop(lambda tiles: tiles + tiles.mean(), x)
    for corner, rows, columns in (
        (x[:, :31, :35], slice(0, 21), slice(0, 25)),
        (x[:, :31, -35:], slice(0, 21), slice(25, 50)),
        (x[:, -31:, :35], slice(21, 43), slice(0, 25)),
        (x[:, -31:, -35:], slice(21, 43), slice(25, 50)),
    ):
        expected = x[:, rows, columns] + corner.mean()
        np.testing.assert_array_equal(restored[:, rows, columns], expected)


def test_tiles_have_the_sizes_of_the_original():
    # 321 x 481 makes 64 tiles of 57 x 77, 512 x 768 makes 256 of 50 x 66.
    assert tiles_of(image(321, 481)) == [(57, 77)] * 64
    assert tiles_of(image(512, 768)) == [(50, 66)] * 256
    assert tiles_of(image(61, 75), scale=2) == [(40, 48)] * 4
    assert tiles_of(image(61, 75), scale=3) == [(41, 49)] * 4  # a remainder is added once


def test_min_size_is_the_first_that_is_split_again():
    assert tiles_of(image(140, 140), min_size=6400) == [(50, 50)] * 16
    assert tiles_of(image(140, 140), min_size=6401) == [(80, 80)] * 4


@pytest.mark.parametrize(("size", "scale"), [((18, 90), 1), ((90, 7), 1), ((19, 40), 2)])
def test_what_is_smaller_than_its_tiles_is_restored_whole(size, scale):
    assert tiles_of(image(*size), scale=scale) == [size]


def test_splitting_without_end_is_refused():
    with pytest.raises(ValueError, match="`min_size` must exceed 400"):
        chop(lambda tiles: tiles, image(60, 60), min_size=400)
