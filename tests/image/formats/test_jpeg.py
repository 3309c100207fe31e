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


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return str(caught.value)


def noisy(**options):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(*segments):
    data = bytes(jpeg())
    return data[:2] + b"".join(segment(*one) for one in segments) + data[2:]


@pytest.mark.parametrize("bits", [2, 12, 16])
@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xC3])
def test_other_depths_are_named(tmp_path, bits, frame):
    data = jpeg()
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4] = frame, bits
    (tmp_path / "a.jpg").write_bytes(data)
    assert f"a JPEG of {bits} bits is not supported" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_zeroed_tail_is_refused(tmp_path, progressive, kept):
    data = noisy(progressive=progressive)
    cut = int(kept * len(data))
    (tmp_path / "a.jpg").write_bytes(data[:cut] + bytes(len(data) - cut))
    assert "cut short" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("kept", [0.5, 0.6, 0.8])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"progressive": True}]
)
def test_pixels_that_end_early_are_refused(tmp_path, options, kept):
    data = noisy(**options)
    (tmp_path / "a.jpg").write_bytes(data[: int(kept * len(data))] + b"\xff\xd9")
    assert "cut short" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_that_ends_in_gray_is_whole(tmp_path, mode):
    Image.new("RGB", (24, 24), (128, 128, 128)).convert(mode).save(tmp_path / "a.jpg")
    assert (read_picture(tmp_path / "a.jpg").samples == 128).all()


def test_too_little_data_for_the_size_is_refused_before_decoding(tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_size(jpeg(), 10_000, 10_000))
    assert "too little data" in refusal(tmp_path / "a.jpg")


def test_segments_and_scans_have_a_limit(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(with_segments(*[(0xFE, b"a")] * 10_001))
    assert "metadata is too large" in refusal(path)
    data = bytes(jpeg(progressive=True))
    scan = data[data.rindex(b"\xff\xda") : -2]
    path.write_bytes(data[:-2] + 50 * scan + data[-2:])
    assert "more than 50 scans" in refusal(path)


def test_fill_bytes_between_segments_are_skipped(tmp_path):
    data = bytes(jpeg())
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff" * 1_000_000 + data[2:])
    assert read_picture(tmp_path / "a.jpg").samples.shape == (60, 90, 3)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b"<x/>", "extended XMP"),
        (b"MPF\0MM\0*", r"the list of further pictures \(MPF\)"),
        (b"urn:iso:std:iso:ts:21496:-1\0\0", "the gain map"),
        (b"FPXR\0a", "segment APP2 FPXR"),
    ],
)
def test_segments_that_are_not_written_again_are_named(tmp_path, content, name):
    marker = 0xE1 if content.startswith(b"http") else 0xE2
    (tmp_path / "a.jpg").write_bytes(with_segments((marker, content)))
    picture = read_picture(tmp_path / "a.jpg")
    with pytest.warns(UserWarning, match=f"JPEG could not keep {name}"):
        write_picture(tmp_path / "b.jpg", picture)
    assert content[:12] not in (tmp_path / "b.jpg").read_bytes()


MOTION = (
    b'<d xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"'
    b' dc:title="t" xmpNote:HasExtendedXMP="A1B2"/>'
)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_claims_about_data_behind_the_picture_go_with_the_data(tmp_path, suffix):
    data = with_segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + MOTION))
    (tmp_path / "a.jpg").write_bytes(data + b"\0\0\0\x18ftypmp42video")
    with pytest.warns(UserWarning, match="the data behind the picture.*GCamera:MotionPhoto"):
        write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / "a.jpg"))
    written = (tmp_path / f"b{suffix}").read_bytes()
    assert b'dc:title="t"' in written
    assert b"GCamera:MotionPhoto" not in written
    assert b"HasExtendedXMP" not in written


def test_pixels_without_an_end_are_not_searched_for_ever(tmp_path):
    data = bytes(jpeg())
    with open(tmp_path / "a.jpg", "wb") as file:
        file.write(data[: data.index(b"\xff\xda") + 20])
        file.truncate(50_000_000_000)
    assert "cut short" in refusal(tmp_path / "a.jpg")


def test_padding_behind_the_picture_is_no_data(tmp_path):
    (tmp_path / "a.jpg").write_bytes(bytes(jpeg()) + bytes(50))
    assert read_picture(tmp_path / "a.jpg").metadata.extras == ()


def test_profiles_of_several_segments_are_kept_whole_or_named(tmp_path):
    profile = np.random.default_rng(0).bytes(150_000)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", icc_profile=profile)
    assert read_picture(tmp_path / "a.jpg").metadata.icc == profile
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.index(b"\xff\xe2")
    length = 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    (tmp_path / "a.jpg").write_bytes(data[:start] + data[start + length :])
    metadata = read_picture(tmp_path / "a.jpg").metadata
    assert metadata.icc is None
    assert [extra.name for extra in metadata.extras] == ["ICC profile (incomplete)"]
