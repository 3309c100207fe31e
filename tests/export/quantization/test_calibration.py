import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_rdanet.data import sources
from keras_rdanet.export.quantization.calibration import calibration_tiles

PHOTO = Path(__file__).parents[3] / "examples" / "astronaut.png"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A photo, a dark picture and a bright one."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = cv2.imread(str(PHOTO))[::8, ::8]
    for name, picture in (("a", photo), ("b", photo // 16), ("c", 255 - photo // 16)):
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return sources.folder(folder)


@pytest.fixture(scope="module")
def tiles(source):
    return calibration_tiles(source, channels=1, size=16, count=200)


def test_tiles_reach_from_the_darkest_to_the_brightest(tiles):
    brightness = tiles.target.mean(axis=(1, 2, 3))
    assert tiles.degraded.shape == tiles.target.shape == (200, 16, 16, 1)
    assert (brightness < 0.06).sum() >= 25
    assert (brightness > 0.94).sum() >= 25
    assert ((brightness > 0.2) & (brightness < 0.8)).sum() >= 25


def test_noise_covers_the_range_of_the_task_and_is_not_clipped(tiles):
    sigmas = 255 * (tiles.degraded - tiles.target).std(axis=(1, 2, 3))
    assert sigmas.min() < 5
    assert sigmas.max() > 45
    assert np.histogram(sigmas, 5, (0, 55))[0].min() >= 20
    assert tiles.degraded.min() < 0
    assert tiles.degraded.max() > 1


def test_the_same_seed_gives_the_same_tiles_and_their_hash(source, tiles):
    again = calibration_tiles(source, channels=1, size=16, count=200)
    other = calibration_tiles(source, channels=1, size=16, count=200, seed=1)
    np.testing.assert_array_equal(again.degraded, tiles.degraded)
    digest = hashlib.sha256(repr(tiles.degraded.shape).encode() + tiles.degraded.tobytes())
    assert again.sha256 == tiles.sha256 == tiles.describe()["sha256"] == digest.hexdigest()
    assert other.sha256 != tiles.sha256


def test_pairs_are_degraded_already(source, tmp_path):
    for path in source.paths:
        cv2.imwrite(str(tmp_path / path.name), 255 - cv2.imread(str(path)))
    pairs = sources.pairs(tmp_path, source.paths[0].parent)
    made = calibration_tiles(pairs, channels=3, size=16, count=200)
    np.testing.assert_allclose(made.degraded, 1 - made.target, atol=1e-6)


def test_few_tiles_are_refused(source):
    with pytest.raises(ValueError, match="at least 200 tiles, got `count` 20"):
        calibration_tiles(source, channels=1, size=16, count=20)
