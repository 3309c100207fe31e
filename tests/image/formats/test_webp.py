import io
import struct

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import (
    Metadata,
    Picture,
    PictureError,
    probe_size,
    read_picture,
    write_picture,
)


def webp(image, **options):
    stream = io.BytesIO()
    image.save(stream, "WEBP", **options)
    return bytearray(stream.getvalue())


def random(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.webp"


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("exif", [{}, {"exif": b"II*\0\x08\0\0\0\0\0"}])
def test_the_header_agrees_with_the_pixels_and_pillow(path, lossless, channels, exif):
    path.write_bytes(webp(Image.fromarray(random(11, 23, channels)), lossless=lossless, **exif))
    picture = read_picture(path)
    assert probe_size(path) == picture.header
    assert (picture.header.width, picture.header.has_alpha) == (23, channels == 4)
    with Image.open(path) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(picture.samples, expected[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(picture.alpha, expected[..., 3])


def test_animations_are_refused(path):
    frames = [Image.fromarray(random(8, 8, 3)), Image.new("RGB", (8, 8))]
    path.write_bytes(webp(frames[0], save_all=True, append_images=frames[1:]))
    with pytest.raises(PictureError, match="an animation"):
        read_picture(path)


def test_bombs_are_refused_by_the_header(path):
    data = webp(Image.fromarray(random(8, 8, 3)), lossless=True)
    data[21:25] = struct.pack("<I", 16383 | 16383 << 14)
    path.write_bytes(data)
    with pytest.raises(PictureError, match="--max-pixels"):
        read_picture(path)


def test_damaged_pixels_are_refused(path):
    data = webp(Image.fromarray(random(64, 64, 3)), lossless=True)
    data[60:] = bytes(len(data) - 60)
    path.write_bytes(data)
    with pytest.raises(PictureError, match="damaged"):
        read_picture(path)


def test_a_profile_of_gray_does_not_go_into_a_webp_which_is_rgb(path):
    profile = bytes(16) + b"GRAY" + bytes(108)
    picture = Picture(np.zeros((4, 5, 1), np.uint8), None, Metadata(icc=profile))
    with pytest.warns(UserWarning, match="could not keep ICC profile of gray"):
        write_picture(path, picture)
    assert read_picture(path).metadata.icc is None
