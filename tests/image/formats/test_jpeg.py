import io
import struct

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import Picture, PictureError, read_picture, write_picture


def smooth(height=60, width=90):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, x + y], axis=-1).astype(np.uint8))


def jpeg(**options):
    stream = io.BytesIO()
    smooth().save(stream, "JPEG", **options)
    return bytearray(stream.getvalue())


def with_size(data, height, width):
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return data


@pytest.mark.parametrize(
    ("size", "reason"), [((65000, 65000), "--max-pixels"), ((0, 90), "zero-sized")]
)
def test_jpeg_bombs_and_zero_sizes_are_refused_by_the_header(tmp_path, size, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(with_size(jpeg(), *size))
    with pytest.raises(PictureError, match=reason):
        read_picture(path)


def test_a_truncated_progressive_jpeg_is_refused(tmp_path):
    data = jpeg(progressive=True)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match="cut short"):
        read_picture(tmp_path / "a.jpg")


def test_cmyk_is_refused_with_the_way_out(tmp_path):
    smooth().convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="colours are CMYK; convert it to RGB"):
        read_picture(tmp_path / "a.jpg")


def test_the_main_picture_of_an_mpo_is_read(tmp_path):
    # Phones put a preview or a depth map behind it.
    smooth().save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]
    )
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").samples, expected)


def test_jpeg_quality_is_the_caller_s(tmp_path):
    rng = np.random.default_rng(0)
    picture = Picture(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    sizes = []
    for quality in (50, 95, 100):
        write_picture(tmp_path / "a.jpg", picture, quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2
