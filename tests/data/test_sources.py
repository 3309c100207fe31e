import cv2
import numpy as np
import pytest

from keras_rdanet.data.sources import folder, layout, pairs
from keras_rdanet.tasks import registry


def write(path, shape=(4, 5, 3), value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(shape, value, np.uint8))


def test_a_folder_lists_images_sorted_and_leaves_the_rest(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.tif", "sub/a.bmp"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._b.png").write_text("macOS metadata")
    names = [path.relative_to(tmp_path).as_posix() for path in folder(tmp_path).paths]
    assert names == ["a.JPG", "b.png", "sub/a.bmp", "sub/c.tif"]
    assert len(folder(tmp_path, recursive=False)) == 2


def test_reading_gives_rgb_in_the_files_depth(tmp_path):
    image = np.zeros((2, 3, 3), np.uint16)
    image[..., 0] = 1000  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "a.png"), image)
    source = folder(tmp_path)
    (samples,) = source.read(0)
    (header,) = source.headers(0)
    assert samples.dtype == header.dtype == np.uint16
    np.testing.assert_array_equal(samples[0, 0], [0, 0, 1000])
    assert (header.height, header.width, header.channels) == (2, 3, 3)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_images_is_refused(tmp_path, make):
    make(tmp_path / "images")
    with pytest.raises(ValueError, match="images"):
        folder(tmp_path / "images")


def test_pairs_match_by_stem_whatever_the_suffix(tmp_path):
    for stem, value in (("x", 10), ("sub/x", 30), ("a.b", 50)):
        write(tmp_path / "noisy" / f"{stem}.png", value=value)
        write(tmp_path / "clean" / f"{stem}.bmp", value=value + 1)
    source = pairs(tmp_path / "noisy", tmp_path / "clean")
    read = [tuple(int(image[0, 0, 0]) for image in source.read(i)) for i in range(len(source))]
    assert read == [(50, 51), (30, 31), (10, 11)]


def test_every_mismatch_is_listed(tmp_path):
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    for name in ("lonely.png", "size.png", "gray.png", "twice.png", "twice.jpg", "fine.png"):
        write(noisy / name)
    write(clean / "size.png", (5, 4, 3))
    write(clean / "gray.png", (4, 5))
    write(clean / "twice.png")
    write(clean / "fine.png")
    write(clean / "widow.png")
    (noisy / "broken.png").write_bytes(b"not a picture")
    write(clean / "broken.png")
    with pytest.raises(ValueError) as error:
        pairs(noisy, clean)
    message = str(error.value)
    assert message.startswith("6 mismatches")
    for part in (
        f"{noisy / 'lonely.png'}: no partner in {clean}",
        f"{clean / 'widow.png'}: no partner in {noisy}",
        f"{noisy / 'size.png'} is 5x4, {clean / 'size.png'} is 4x5",
        f"{noisy / 'gray.png'} has 3 channels, {clean / 'gray.png'} has 1",
        f"{noisy / 'twice.jpg'} and {noisy / 'twice.png'} share a stem",
        f"{noisy / 'broken.png'}: ",
    ):
        assert part in message


def test_a_long_list_of_mismatches_is_cut(tmp_path):
    write(tmp_path / "clean" / "x.png")
    for number in range(30):
        write(tmp_path / "noisy" / f"{number:02}.png")
    with pytest.raises(ValueError, match=r"31 mismatches .* and 21 more") as error:
        pairs(tmp_path / "noisy", tmp_path / "clean")
    assert str(error.value).count("no partner") == 10


def test_pairs_of_a_scale(tmp_path):
    write(tmp_path / "small" / "a.png", (4, 5, 3))
    write(tmp_path / "large" / "a.png", (12, 15, 3))
    assert len(pairs(tmp_path / "small", tmp_path / "large", scale=3)) == 1
    with pytest.raises(ValueError, match=r"is 5x4, .* is 15x12 instead of 2 times that"):
        pairs(tmp_path / "small", tmp_path / "large", scale=2)


# Layout -> the files of a small copy of the public folders, degraded and target, and
# files that belong to no pair.
PUBLIC = {
    "sidd": (
        [
            (
                "Data/0001_001_S6_00100/0001_NOISY_SRGB_010.PNG",
                "Data/0001_001_S6_00100/0001_GT_SRGB_010.PNG",
            ),
            (
                "Data/0001_001_S6_00100/0001_NOISY_SRGB_011.PNG",
                "Data/0001_001_S6_00100/0001_GT_SRGB_011.PNG",
            ),
            ("Data/0002_001_S6_00100/NOISY_SRGB_010.PNG", "Data/0002_001_S6_00100/GT_SRGB_010.PNG"),
        ],
        [],
    ),
    "polyu": (
        [
            (
                "CroppedImages/Sony_4-5_160_1600_plant_1_Real.JPG",
                "CroppedImages/Sony_4-5_160_1600_plant_1_mean.JPG",
            )
        ],
        [],
    ),
    "cc": (
        [("CC_NoisyImage/d800_iso1600_1_real.png", "CC_MeanImage/d800_iso1600_1_mean.png")],
        [],
    ),
    "realsr_x3": (
        [
            ("Canon/Train/3/Canon_001_LR3.png", "Canon/Train/3/Canon_001_HR.png"),
            ("Nikon/Train/3/Nikon_001_LR3.png", "Nikon/Train/3/Nikon_001_HR.png"),
        ],
        ["Canon/Train/2/Canon_001_LR2.png", "Canon/Train/2/Canon_001_HR.png"],
    ),
    "gopro": (
        [("train/GOPR0372_07_00/blur/000047.png", "train/GOPR0372_07_00/sharp/000047.png")],
        ["train/GOPR0372_07_00/blur_gamma/000047.png"],
    ),
    "rain100": (
        [
            (
                "rain_data_train_Light/rain/norain-12x2.png",
                "rain_data_train_Light/norain/norain-12.png",
            ),
            (
                "rain_data_test_Light/rain/X2/norain-001x2.png",
                "rain_data_test_Light/norain/norain-001.png",
            ),
            ("Rain100H/rainy/rain-001.png", "Rain100H/norain-001.png"),
        ],
        [],
    ),
    "rain13k": (
        [("train/Rain13K/input/1.jpg", "train/Rain13K/target/1.jpg")],
        [],
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_layouts(tmp_path, name):
    partners, others = PUBLIC[name]
    for value, names in enumerate([*partners, *((other,) for other in others)]):
        for file in names:
            write(tmp_path / file, value=value)
    source = layout(name, tmp_path, split=None if name == "rain100" else "train")
    found = zip(source.degraded, source.target, strict=True)
    expected = {(tmp_path / degraded, tmp_path / target) for degraded, target in partners}
    assert set(found) == expected


def test_splits_of_a_public_set(tmp_path):
    for split, number in (("train", 1), ("test", 2)):
        for side in ("blur", "sharp"):
            write(tmp_path / split / "GOPR0001" / side / f"{number}.png")
    names = {
        split: [path.stem for path in layout("gopro", tmp_path, split=split).target]
        for split in ("train", "test", None)
    }
    assert names == {"train": ["1"], "test": ["2"], None: ["2", "1"]}
    assert len(layout("gopro", tmp_path / "test", split="train")) == 1  # the folder was chosen


def test_incomplete_public_sets_are_refused(tmp_path):
    write(tmp_path / "input" / "1.png")
    write(tmp_path / "input" / "2.png")
    write(tmp_path / "target" / "2.png")
    with pytest.raises(ValueError, match=r"1 mismatch in .*1\.png: no partner"):
        layout("rain13k", tmp_path)
    with pytest.raises(ValueError, match=r"no degraded image .train. where the layout gopro"):
        layout("gopro", tmp_path, split="train")
    with pytest.raises(ValueError, match=r"`layout` must be one of sidd, .*got 'fog'"):
        layout("fog", tmp_path)


def test_two_files_for_one_side_of_a_pair_are_refused(tmp_path):
    for file in ("input/1.png", "input/1.jpg", "target/1.png"):
        write(tmp_path / file)
    with pytest.raises(ValueError, match="are the same image of a pair"):
        layout("rain13k", tmp_path)


def test_table_of_layouts_is_complete():
    assert set(PUBLIC) | {"realsr_x2", "realsr_x4"} == set(registry.layouts())
