import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from keras_rdanet.image.io import (
    Metadata,
    Picture,
    PictureError,
    probe_size,
    read_picture,
    write_picture,
)
from keras_rdanet.image.picture import Extra

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(width, height, depth, color):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def png(samples, color, *, before=b"", after=b"", idat=None):
    """A PNG of 16 bits without filters, from its definition."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    height, width = samples.shape[:2]
    pixels = chunk(b"IDAT", zlib.compress(rows) if idat is None else idat)
    start = SIGNATURE + header(width, height, 16, color)
    return start + before + pixels + after + chunk(b"IEND", b"")


def random(*shape):
    return np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.png"


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("color", "channels", "alpha"), [(0, 1, 0), (4, 1, 1), (2, 3, 0), (6, 3, 1)]
)
def test_16_bits_are_read_as_they_stand(path, color, channels, alpha):
    samples = random(5, 7, channels + alpha)
    path.write_bytes(png(samples, color))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.samples, samples[..., :channels])
    if alpha:
        np.testing.assert_array_equal(picture.alpha, samples[..., -1])


@pytest.mark.parametrize("channels", [1, 3])
def test_other_programs_read_what_is_written_in_16_bits(path, channels):
    samples = random(70, 9, channels)
    write_picture(path, Picture(samples))
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(70, 9, -1)[..., ::-1]
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize("color", [0, 2])
def test_a_transparent_colour_of_16_bits_becomes_alpha(path, color):
    samples = random(4, 5, 3 if color else 1)
    key = b"".join(int(value).to_bytes(2, "big") for value in samples[1, 2])
    path.write_bytes(png(samples, color, before=chunk(b"tRNS", key)))
    expected = np.full((4, 5), 65535)
    expected[1, 2] = 0
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.alpha, expected)
    np.testing.assert_array_equal(picture.samples, samples)
    assert probe_size(path).has_alpha


@pytest.mark.parametrize(
    ("mode", "key", "channels"), [("1", 255, 1), ("L", 255, 1), ("RGB", (255, 255, 255), 3)]
)
def test_a_transparent_colour_of_8_bits_becomes_alpha(path, mode, key, channels):
    bits = np.random.default_rng(0).integers(0, 2, (6, 7), dtype=np.uint8) * 255
    Image.fromarray(bits).convert(mode).save(path, transparency=key)
    picture = read_picture(path)
    assert picture.samples.shape == (6, 7, channels)
    np.testing.assert_array_equal(picture.samples[..., 0], bits)
    np.testing.assert_array_equal(picture.alpha, 255 - bits)


@pytest.mark.parametrize("transparency", [None, bytes([0, 77, 255])])
@pytest.mark.parametrize(
    ("palette", "channels"),
    [([10, 20, 30, 250, 0, 1, 7, 7, 7], 3), ([10, 10, 10, 90, 90, 90, 255, 255, 255], 1)],
)
def test_palettes_are_expanded_and_a_gray_one_stays_gray(path, palette, channels, transparency):
    indices = np.random.default_rng(0).integers(0, 3, (6, 7), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette)
    image.save(path, **({"transparency": transparency} if transparency else {}))
    picture = read_picture(path)
    colors = np.array(palette, np.uint8).reshape(3, 3)[:, :channels]
    np.testing.assert_array_equal(picture.samples, colors[indices])
    if transparency:
        alphas = np.frombuffer(transparency, np.uint8)
        np.testing.assert_array_equal(picture.alpha, alphas[indices])
    else:
        assert picture.alpha is None
    assert probe_size(path) == picture.header


def test_bilevel_pictures_are_black_and_white_in_8_bits(path):
    bits = np.random.default_rng(0).integers(0, 2, (6, 9)).astype(bool)
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(read_picture(path).samples[..., 0], bits * np.uint8(255))


def test_metadata_after_the_pixels_counts(path):
    # ExifTool writes XMP there.
    exif = Image.Exif()
    exif[0x0112] = 6
    after = chunk(b"eXIf", exif.tobytes()[6:]) + chunk(
        b"iTXt", b"XML:com.adobe.xmp\0" + bytes(4) + b"<xmp/>"
    )
    samples = random(4, 6, 3)
    path.write_bytes(png(samples, 2, after=after))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.samples, np.rot90(samples, -1))
    assert picture.metadata.xmp == b"<xmp/>"
    assert probe_size(path) == picture.header


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chunks_that_define_colours_are_kept(path, dtype):
    linear = (b"gAMA", (100_000).to_bytes(4, "big"))
    extra = Extra("gAMA", "PNG", *linear)
    write_picture(path, Picture(np.zeros((4, 5, 3), dtype), None, Metadata(extras=(extra,))))
    with Image.open(path) as image:
        assert image.info["gamma"] == 1
    assert read_picture(path).metadata.extras == (extra,)


def test_animations_are_refused(path):
    frames = [Image.new("L", (8, 8), gray) for gray in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert "an animation" in refusal(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_flipped_bits_are_noticed(path, depth):
    write_picture(path, Picture(random(40, 50, 3).astype(f"uint{depth}")))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_pixels_that_end_early_are_refused(path, depth):
    rows = zlib.compress(random(4, 200).tobytes())
    path.write_bytes(
        SIGNATURE + header(40, 50, depth, 2) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_bombs_and_zero_sizes_are_refused_by_the_header(path, depth):
    path.write_bytes(
        SIGNATURE
        + header(60_000, 60_000, depth, 2)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )
    assert "--max-pixels" in refusal(path)
    path.write_bytes(SIGNATURE + header(0, 5, depth, 2) + chunk(b"IEND", b""))
    assert "zero-sized (0 x 5 pixels)" in refusal(path)


def test_text_is_not_mistaken_for_xmp(path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Comment", "not XMP")
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "PNG", pnginfo=text)
    path.write_bytes(stream.getvalue())
    assert read_picture(path).metadata.xmp is None


def test_a_gray_palette_with_a_profile_of_rgb_stays_rgb(path):
    image = Image.fromarray(np.arange(3, dtype=np.uint8).reshape(1, 3), "P")
    image.putpalette([9, 9, 9, 80, 80, 80, 255, 255, 255])
    image.save(path, icc_profile=bytes(16) + b"RGB " + bytes(108))
    assert read_picture(path).samples.tolist() == [[[9] * 3, [80] * 3, [255] * 3]]
