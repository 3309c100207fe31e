from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from keras_rdanet.data.check import check, shared_images
from keras_rdanet.data.packed import pack, packed
from keras_rdanet.data.sources import folder, pairs


def write(path, image):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def photos(tmp_path):
    write(tmp_path / "train" / "camera.png", data.camera()[100:250, 150:300])
    write(tmp_path / "train" / "cat.png", data.chelsea()[:150, 100:300])
    write(tmp_path / "train" / "coffee.png", data.coffee()[100:300, 150:350].astype(np.uint16))
    return tmp_path / "train"


def test_a_clean_set_is_told_in_a_table(photos):
    report = check(folder(photos), min_size=150)
    assert dict(report.rows) == {
        "images": "3",
        "width x height": "150x150 (1), 200x150 (1), 200x200 (1)",
        "channels": "RGB (2), gray (1)",
        "depth": "uint8 (2), uint16 (1)",
        "unreadable": "0",
        "smaller than 150": "0",
        "exact duplicates": "0",
    }
    assert report.errors == report.warnings == ()


def test_unreadable_small_and_equal_images_are_found(photos):
    (photos / "broken.png").write_bytes((photos / "cat.png").read_bytes()[:200])
    cat = cv2.imread(str(photos / "cat.png"))
    cv2.imwrite(str(photos / "copy.bmp"), cat)
    report = check(folder(photos), min_size=151)
    rows = dict(report.rows)
    counts = rows["unreadable"], rows["smaller than 151"], rows["exact duplicates"]
    assert counts == ("1", "3", "1")
    assert report.warnings == (f"{photos / 'copy.bmp'} equals {photos / 'cat.png'}",)
    assert report.errors[0].startswith(f"{photos / 'broken.png'}: ")
    assert f"{photos / 'camera.png'} is only 150x150" in report.errors


def test_leaks_are_found_exact_or_changed(photos, tmp_path):
    cat = cv2.imread(str(photos / "cat.png"))
    coffee = cv2.imread(str(photos / "coffee.png"), cv2.IMREAD_UNCHANGED).astype(np.uint8)
    test = tmp_path / "test"
    write(test / "same.png", cat)
    write(test / "turned.jpg", np.rot90(cv2.resize(coffee, None, fx=0.5, fy=0.5)).copy())
    write(test / "other.png", data.astronaut())
    report = check(folder(photos), against=folder(test))
    assert set(report.errors) == {
        f"{photos / 'cat.png'} is {test / 'same.png'} of the test set",
        f"{photos / 'coffee.png'} looks like {test / 'turned.jpg'} of the test set",
    }
    assert dict(report.rows)["in the test set"] == "1 exactly, 1 alike"


def test_packed_sets_are_compared_by_the_images_they_were_made_of(photos, tmp_path):
    pack(folder(photos), tmp_path / "set", tile_size=64)
    write(tmp_path / "test" / "cat.png", cv2.imread(str(photos / "cat.png")))
    report = check(packed(tmp_path / "set"), against=folder(tmp_path / "test"))
    rows = dict(report.rows)
    assert (rows["images"], rows["width x height"]) == ("3", f"64x64 ({rows['tiles']})")
    assert report.errors == (
        f"{photos / 'cat.png'} is {tmp_path / 'test' / 'cat.png'} of the test set",
    )


def test_of_pairs_the_targets_are_compared(photos, tmp_path):
    for path in photos.iterdir():
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        write(tmp_path / "noisy" / path.name, image + 1)
    source = pairs(tmp_path / "noisy", photos)
    assert len(check(source, against=folder(photos)).errors) == 3
    in_noisy = check(source, against=folder(tmp_path / "noisy"))
    assert dict(in_noisy.rows)["in the test set"].startswith("0 exactly")


def test_images_of_validation_that_are_trained_on_are_found(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), np.uint8)
    for place in ("train/a.png", "train/b.png", "held/copy.png", "held/other.png"):
        index = {"a": 0, "b": 1, "copy": 1, "other": 2}[Path(place).stem]
        write(tmp_path / place, images[index])
    held = folder(tmp_path / "held")
    found = shared_images([folder(tmp_path / "train")], held)
    assert [Path(name).name for name in found] == ["copy.png"]
    pack(folder(tmp_path / "train"), tmp_path / "packed", tile_size=16, overlap=0)
    found = shared_images([packed(tmp_path / "packed")], held)
    assert [Path(name).name for name in found] == ["copy.png"]
    assert shared_images([folder(tmp_path / "held")], held) == [
        held.name(0),
        held.name(1),
    ]
