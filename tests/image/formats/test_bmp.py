import io
import struct

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import Picture, PictureError, read_picture, write_picture


def encoded(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "BMP")
    return stream.getvalue()


def test_tall_pictures_are_the_same_as_in_one_piece(tmp_path):
    picture = Picture(np.random.default_rng(0).integers(0, 256, (600, 3, 3), dtype=np.uint8))
    write_picture(tmp_path / "a.bmp", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").samples, picture.samples)


def test_a_size_beyond_the_file_is_refused_before_memory_is_taken(tmp_path):
    data = bytearray(encoded(np.zeros((4, 5, 3), np.uint8)))
    data[18:26] = struct.pack("<ii", 10_000, 10_000)
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(PictureError, match="cut short"):
        read_picture(tmp_path / "a.bmp")


@pytest.mark.parametrize("kept", [54, 60, 100])
def test_fewer_rows_than_the_size_says_are_refused(tmp_path, kept):
    data = encoded(np.full((4, 5, 3), 9, np.uint8))
    (tmp_path / "a.bmp").write_bytes(data[:kept])
    with pytest.raises(PictureError, match="cut short"):
        read_picture(tmp_path / "a.bmp")


def test_the_profile_of_a_bmp_is_kept(tmp_path):
    profile = bytes(range(200))
    pixels = bytes(range(12)) + bytes(4)
    header = struct.pack("<IiiHHIIiiII", 124, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(52) + struct.pack("<III", 124 + 16, 200, 0)
    start = struct.pack("<2sIHHI", b"BM", 14 + 124 + 16 + 200, 0, 0, 14 + 124)
    (tmp_path / "a.bmp").write_bytes(start + header + pixels + profile)
    picture = read_picture(tmp_path / "a.bmp")
    assert picture.metadata.icc == profile
    write_picture(tmp_path / "a.png", picture)
    assert read_picture(tmp_path / "a.png").metadata.icc == profile
