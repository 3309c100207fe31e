import numpy as np
import pytest

from keras_rdanet.inference.mosaic import PATTERNS, check_pattern, from_rggb, spread


def recorded(pattern, height, width):
    """A flat colour as a sensor records it, sample by sample."""
    cell = np.array([1 if letter == "r" else 2 if letter == "g" else 3 for letter in pattern])
    rows, columns = np.indices((height, width)) % 2
    return cell.reshape(2, 2)[rows, columns][..., None].astype(np.uint8)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(2, 2), (5, 6), (8, 3)])
def test_every_pattern_becomes_rggb(pattern, size):
    started = from_rggb(recorded(pattern, *size), pattern)
    np.testing.assert_array_equal(started, recorded("rggb", *started.shape[:2]))
    np.testing.assert_array_equal(started[-size[0] :, -size[1] :], recorded(pattern, *size))


def test_each_sample_goes_to_its_colour():
    samples = np.arange(1, 13, dtype=np.uint16).reshape(3, 4, 1)
    colors = spread(samples)
    np.testing.assert_array_equal(colors.sum(axis=-1, dtype=np.uint16), samples[..., 0])
    assert colors.dtype == np.uint16
    np.testing.assert_array_equal(colors[..., 0] > 0, [[1, 0, 1, 0], [0] * 4, [1, 0, 1, 0]])
    np.testing.assert_array_equal(colors[..., 2] > 0, [[0] * 4, [0, 1, 0, 1], [0] * 4])
    np.testing.assert_array_equal(spread(np.repeat(samples, 3, axis=-1)), colors)


def test_other_patterns_and_lines_are_refused():
    with pytest.raises(ValueError, match=r"rggb, grbg, gbrg, bggr, got 'rgbg'"):
        check_pattern("rgbg")
    with pytest.raises(ValueError, match="at least 2x2 pixels, got 9x1"):
        from_rggb(np.zeros((1, 9, 1)), "rggb")
