import numpy as np
import pytest

from keras_rdanet.image.geometry import DIHEDRAL, crop, dihedral, pad_to_multiple, undo_dihedral

# [[0, 1, 2], [3, 4, 5]] in each of the eight modes, as the original training code gives them.
TABLE = [
    [[0, 1, 2], [3, 4, 5]],
    [[0, 3], [1, 4], [2, 5]],
    [[3, 4, 5], [0, 1, 2]],
    [[3, 0], [4, 1], [5, 2]],
    [[2, 1, 0], [5, 4, 3]],
    [[2, 5], [1, 4], [0, 3]],
    [[5, 4, 3], [2, 1, 0]],
    [[5, 2], [4, 1], [3, 0]],
]


@pytest.mark.parametrize("mode", range(len(DIHEDRAL)))
def test_modes_follow_the_table_and_are_undone(mode):
    image = np.arange(6).reshape(2, 3, 1)
    turned = dihedral(image, mode)
    np.testing.assert_array_equal(turned[..., 0], TABLE[mode])
    np.testing.assert_array_equal(undo_dihedral(turned, mode), image)


@pytest.mark.parametrize("mode", range(8))
def test_a_batch_turns_as_its_images_do(mode):
    images = np.random.default_rng(0).random((2, 3, 4, 3))
    turned = dihedral(images, mode)
    np.testing.assert_array_equal(turned[1], dihedral(images[1], mode))
    np.testing.assert_array_equal(undo_dihedral(turned, mode), images)


@pytest.mark.parametrize("function", [dihedral, undo_dihedral])
@pytest.mark.parametrize("mode", [-1, 8])
def test_a_ninth_mode_is_refused(function, mode):
    with pytest.raises(ValueError, match="0 to 7"):
        function(np.zeros((2, 2, 1)), mode)


def test_padding_reflects_without_repeating_the_edge():
    image = np.arange(3.0).reshape(1, 3, 1)
    padded, size = pad_to_multiple(image, 5)
    np.testing.assert_array_equal(padded[0, :, 0], [0, 1, 2, 1, 0])
    np.testing.assert_array_equal(padded[4, :, 0], [0, 1, 2, 1, 0])  # one row: repeated
    np.testing.assert_array_equal(crop(padded, size), image)


@pytest.mark.parametrize("height", [1, 2, 3, 7, 8, 9, 31])
@pytest.mark.parametrize("width", [1, 8, 33])
def test_any_size_becomes_a_multiple_and_comes_back(height, width):
    image = np.random.default_rng(0).random((2, height, width, 3))
    padded, size = pad_to_multiple(image, 8, min_size=16)
    assert padded.shape == (2, max(16, -(-height // 8) * 8), max(16, -(-width // 8) * 8), 3)
    np.testing.assert_array_equal(crop(padded, size), image)


def test_an_aligned_image_is_not_touched():
    image = np.zeros((16, 24, 1))
    assert pad_to_multiple(image, 8, min_size=16)[0] is image
