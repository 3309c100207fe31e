import shutil

import cv2
import numpy as np
import pytest
from skimage import data

from keras_rdanet.data.fingerprints import fingerprint, folder_fingerprint, looks, similarity
from keras_rdanet.image.geometry import dihedral

PHOTO = data.astronaut()[:400, :500]


def half(image):
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 25, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def gray(image):
    return image.mean(axis=2, keepdims=True).astype(np.uint8)


@pytest.mark.parametrize("change", [half, jpeg, noisy, gray])
@pytest.mark.parametrize("mode", [0, 5])
def test_a_changed_copy_looks_the_same_however_turned(change, mode):
    copy = change(np.ascontiguousarray(dihedral(PHOTO, mode)))
    assert similarity([fingerprint(copy).look], looks(PHOTO)).max() > 0.8


def test_other_photographs_look_different():
    others = [data.chelsea(), data.coffee(), data.rocket(), data.camera()[..., None]]
    alike = similarity([fingerprint(other).look for other in others], looks(PHOTO))
    assert alike.shape == (4, 8)
    assert alike.max() < 0.6


def test_equal_hashes_score_one_and_opposite_ones_minus_one():
    ramp = np.tile(np.arange(26, dtype=np.uint8), (26, 1))[..., None]
    bits = similarity([fingerprint(ramp).look], [fingerprint(ramp).look])
    assert bits[0, 0] == 1
    every, none = "ff" * 39, "00" * 39
    assert similarity([every], [none])[0, 0] == -1


def test_pixels_tell_images_of_the_same_bytes_apart():
    image = np.zeros((4, 6, 1), np.uint8)
    prints = {
        fingerprint(changed).pixels
        for changed in (image, image.reshape(6, 4, 1), image + np.uint8(1))
    }
    assert len(prints) == 3
    assert fingerprint(image) == fingerprint(image.copy())


def test_a_folder_is_told_by_names_and_content_wherever_it_lies(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "sub").mkdir(parents=True)
    (one / "a.png").write_bytes(b"a" * 200_000)
    (one / "sub" / "b.png").write_bytes(b"b")
    shutil.copytree(one, other)
    expected = folder_fingerprint(one)
    assert folder_fingerprint(other) == expected
    for change in (
        lambda: (other / "a.png").rename(other / "c.png"),
        lambda: (other / "a.png").write_bytes(b"a" * 199_999 + b"c"),
        lambda: (other / "a.png").write_bytes(b"a" * 199_999),
        lambda: (other / "c.png").touch(),
    ):
        shutil.rmtree(other)
        shutil.copytree(one, other)
        change()
        assert folder_fingerprint(other) != expected
