import cv2
import numpy as np
import pytest

from keras_rdanet.data.sources import folder, pairs


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
