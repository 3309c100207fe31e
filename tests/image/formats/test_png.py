import io
import struct
import tracemalloc
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


SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
FORMS = [(c, d) for c in (0, 3) for d in (1, 2, 4, 8)] + [(c, 8) for c in (2, 4, 6)]
FORMS += [(c, 16) for c in (0, 2, 4, 6)]
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
PASSES += [(0, 1, 1, 2)]


def bits(values, depth):
    """The rows of a picture, without filters."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in values]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in values]
    unpacked = values[..., 0, np.newaxis] >> np.arange(depth - 1, -1, -1) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in unpacked]


def filtered(rows, reach, kinds):
    """The rows behind their filters, by the formulas of the specification."""
    result, above = b"", bytes(len(rows[0]))
    for row, kind in zip(rows, kinds, strict=False):
        line = bytearray()
        for i, value in enumerate(row):
            a = row[i - reach] if i >= reach else 0
            b = above[i]
            c = above[i - reach] if i >= reach else 0
            p = a + b - c
            paeth = min((a, b, c), key=lambda x: abs(p - x))
            line.append(value - (0, a, b, (a + b) // 2, paeth)[kind] & 255)
        result += bytes([kind]) + line
        above = row
    return result


def stored(values, color, depth, interlaced=False, before=b"", fraction=1.0):
    """A PNG of any kind, whose rows take turns in their filters."""
    reach = max(1, depth * SAMPLES[color] // 8)
    data = b""
    for left, top, across, down in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = values[top::down, left::across]
        if part.size:
            data += filtered(bits(part, depth), reach, [1, 2, 3, 4, 0] * len(part))
    data = data[: int(fraction * len(data))]
    height, width = values.shape[:2]
    size = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(i % 251 for i in range(3 << depth))) if color == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(data))
    return SIGNATURE + chunk(b"IHDR", size) + palette + before + pixels + chunk(b"IEND", b"")


def values(color, depth, size=(13, 11)):
    rng = np.random.default_rng(color + depth)
    return rng.integers(0, 1 << depth, (*size, SAMPLES[color]))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "depth"), FORMS)
def test_every_kind_of_pixels_behind_every_filter(path, color, depth, interlaced):
    samples = values(color, depth)
    path.write_bytes(stored(samples, color, depth, interlaced))
    picture = read_picture(path)
    if color == 3:
        expected = (np.arange(3 << depth) % 251).reshape(-1, 3)[samples[..., 0]]
    else:
        expected = samples[..., : 3 if SAMPLES[color] > 2 else 1] * (
            255 // (2 ** min(depth, 8) - 1)
        )
    np.testing.assert_array_equal(picture.samples, expected)
    if color in (4, 6):
        np.testing.assert_array_equal(picture.alpha, samples[..., -1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "depth"), [f for f in FORMS if f[0] in (0, 2)])
def test_a_transparent_colour_of_any_depth_becomes_alpha(path, color, depth, interlaced):
    samples = values(color, depth)
    key = samples[3, 4]
    content = struct.pack(f">{len(key)}H", *key)
    path.write_bytes(stored(samples, color, depth, interlaced, chunk(b"tRNS", content)))
    white = 65535 if depth == 16 else 255
    expected = np.where((samples == key).all(axis=-1), 0, white)
    np.testing.assert_array_equal(read_picture(path).alpha, expected)
    assert probe_size(path).has_alpha


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparency_of_a_palette_of_any_depth_becomes_alpha(path, depth):
    samples = values(3, depth)
    path.write_bytes(stored(samples, 3, depth, before=chunk(b"tRNS", bytes([0, 77]))))
    expected = np.array([0, 77, *[255] * 254])[samples[..., 0]]
    np.testing.assert_array_equal(read_picture(path).alpha, expected)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "depth"), FORMS)
def test_a_fraction_of_the_rows_is_refused(path, color, depth, interlaced):
    path.write_bytes(stored(values(color, depth), color, depth, interlaced, fraction=0.4))
    assert "damaged or cut short" in refusal(path)


def test_pixels_without_the_checksum_of_their_stream_are_refused(path):
    rows = zlib.compress(b"".join(b"\0" + bytes(6) for _ in range(2)))
    for data in (rows[:-4], rows[:-1], rows[:-1] + b"\0", rows[:-4] + bytes(4), rows + b""):
        content = chunk(b"IDAT", data) + chunk(b"IEND", b"")
        path.write_bytes(SIGNATURE + header(2, 2, 8, 2) + content)
        if data == rows:
            assert read_picture(path).samples.shape == (2, 2, 3)
        else:
            assert "damaged" in refusal(path)


def test_more_rows_than_the_size_says_are_refused(path):
    samples = np.zeros((4, 5, 3), np.uint8)
    data = bytearray(stored(samples, 2, 8))
    data[8:33] = header(5, 3, 8, 2)
    path.write_bytes(data)
    assert "more than its size says" in refusal(path)


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"IEND"])
def test_the_checksum_of_every_chunk_counts(path, kind):
    data = bytearray(
        stored(values(2, 8), 2, 8, before=chunk(b"tEXt", b"a\0b") + chunk(b"gAMA", b"abcd"))
    )
    data[data.index(kind) + 4 + (4 if kind != b"IEND" else 0)] ^= 1
    path.write_bytes(data)
    assert f"the checksum of {kind.decode()} is wrong" in refusal(path)


def test_a_palette_is_refused_by_the_header_when_it_is_too_large(path):
    content = chunk(b"PLTE", bytes(6)) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    for size in ((60_000, 60_000), (2**31 - 1, 2**31 - 1)):
        path.write_bytes(SIGNATURE + header(*size, 1, 3) + content)
        assert "--max-pixels" in refusal(path)


def test_too_little_data_is_noticed_before_memory_is_taken(path):
    content = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(SIGNATURE + header(10_000, 10_000, 8, 2) + content)
    tracemalloc.start()
    assert "too little data" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT"])
def test_a_million_chunks_are_refused_at_once(path, kind):
    path.write_bytes(SIGNATURE + header(2, 2, 8, 2) + chunk(kind, b"") * 1_000_000)
    assert "too many chunks" in refusal(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_long_profiles_and_texts_are_kept(path, tmp_path, depth):
    noise = np.random.default_rng(0).bytes(1_300_000)
    text = (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(1_400_000)))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(noise))
    path.write_bytes(stored(values(2, depth), 2, depth, before=profile + chunk(*text)))
    picture = read_picture(path)
    assert picture.metadata.icc == noise
    assert picture.metadata.extras == (Extra("text workflow", "PNG", *text),)
    write_picture(tmp_path / "b.png", picture)
    assert read_picture(tmp_path / "b.png").metadata == picture.metadata


@pytest.mark.parametrize("depth", [8, 16])
def test_a_profile_that_inflates_without_end_is_left_out_by_name(path, tmp_path, depth):
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000)))
    path.write_bytes(stored(values(2, depth), 2, depth, before=profile))
    picture = read_picture(path)
    assert picture.metadata.icc is None
    with pytest.warns(UserWarning, match=r"could not keep ICC profile \(is larger than"):
        write_picture(tmp_path / "b.png", picture)


@pytest.mark.parametrize("kind", [b"zTXt", b"tEXt", b"iTXt"])
@pytest.mark.parametrize("name", [b"exif", b"APP1"])
def test_the_exif_that_imagemagick_writes_is_exif(path, tmp_path, kind, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    text = b"\n%s\n%8d\n%s\n" % (name, len(block), block.hex().encode())
    between = {b"zTXt": b"\0", b"tEXt": b"", b"iTXt": bytes(4)}[kind]
    content = b"Raw profile type " + name + b"\0" + between
    content += zlib.compress(text) if kind == b"zTXt" else text
    samples = values(2, 8, (4, 6))
    path.write_bytes(stored(samples, 2, 8, before=chunk(kind, content)))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.samples, np.rot90(samples, -1))
    write_picture(tmp_path / "b.png", picture)
    assert read_picture(tmp_path / "b.png").metadata == picture.metadata
    assert b"Raw profile" not in (tmp_path / "b.png").read_bytes()


def test_a_raw_profile_beside_exif_does_not_outlive_it(path, tmp_path):
    text = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n       8\n49492a0008000000")
    exif = chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    path.write_bytes(stored(values(2, 8), 2, 8, before=text + exif))
    with pytest.warns(UserWarning, match="could not keep a second text Raw profile type exif"):
        write_picture(tmp_path / "b.png", read_picture(path))
    assert b"Raw profile" not in (tmp_path / "b.png").read_bytes()


def test_a_resolution_without_a_unit_stays_one(path, tmp_path):
    ratio = chunk(b"pHYs", struct.pack(">IIB", 4, 3, 0))
    path.write_bytes(stored(values(2, 8), 2, 8, before=ratio))
    picture = read_picture(path)
    assert (picture.metadata.dpi, picture.metadata.density) == (None, (4, 3))
    for suffix in (".png", ".tif"):
        write_picture(tmp_path / f"b{suffix}", picture)
        assert read_picture(tmp_path / f"b{suffix}").metadata.density == (4, 3)
