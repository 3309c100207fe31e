import io
import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_rdanet.image.io import (
    Metadata,
    Picture,
    PictureError,
    probe_size,
    read_picture,
    write_picture,
)


def random(shape, dtype):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tif"


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_reads(path, samples):
    """That the picture, with alpha as its last channel, is `samples` in the depth kept here."""
    picture = read_picture(path)
    assert probe_size(path) == picture.header
    read = picture.samples
    if picture.alpha is not None:
        read = np.concatenate([read, picture.alpha[..., np.newaxis]], axis=-1)
    expected = samples.astype(np.float32) if samples.dtype.kind == "f" else samples
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", ["strips", "tiles", "planes", "tiled planes"])
def test_layouts(path, dtype, channels, compression, layout):
    samples = random((37, 53, channels), dtype)
    stored = samples[..., 0] if channels == 1 else samples
    planar = "contig" if channels > 1 else None
    if "planes" in layout and channels > 1:
        stored, planar = np.moveaxis(samples, -1, 0), "separate"
    for byteorder in "<>":
        tifffile.imwrite(
            path,
            stored,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig=planar,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression=compression,
            predictor=bool(compression) and samples.dtype.kind == "u",
            tile=(16, 32) if "tile" in layout else None,
            rowsperstrip=None if "tile" in layout else 5,
            byteorder=byteorder,
            bigtiff=byteorder == ">",
            metadata=None,
        )
        assert_reads(path, samples)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", [5, 8, 32946])
def test_lzw_and_predictors_as_libtiff_writes_them(path, dtype, channels, predictor, compression):
    if predictor == 3 and dtype != "float32":
        predictor = 2
    samples = random((37, 53, channels), dtype)
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    assert cv2.imwrite(str(path), samples[..., ::-1], options)
    page = tifffile.TiffFile(path).pages.first
    assert (page.compression, page.predictor) == (compression, predictor)
    assert_reads(path, samples)


@pytest.mark.parametrize(
    ("mode", "dtype", "channels"),
    [("LA", "uint8", 2), ("RGBA", "uint8", 4), ("I;16", "uint16", 1), ("F", "float32", 1)],
)
@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_pillow_s_compressions(path, mode, dtype, channels, compression):
    samples = random((37, 53, channels), dtype)
    image = Image.fromarray(samples[..., 0] if channels == 1 else samples)
    assert image.mode == mode
    image.save(path, compression=compression)
    assert_reads(path, samples)


@pytest.mark.parametrize("compression", ["raw", "group3", "group4", "tiff_lzw"])
def test_bilevel(path, compression):
    bits = np.random.default_rng(0).integers(0, 2, (37, 53)).astype(bool)
    Image.fromarray(bits).save(path, compression=compression)
    assert_reads(path, (bits * np.uint8(255))[..., np.newaxis])


def test_jpeg_compression(path):
    y, x = np.mgrid[:48, :64]
    samples = np.stack([x, y, x + y], axis=-1).astype(np.uint8)
    Image.fromarray(samples).save(path, compression="jpeg", quality=95)
    assert np.abs(read_picture(path).samples.astype(int) - samples).max() <= 8


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_palettes_are_expanded(path, compression):
    image = Image.fromarray(random((37, 53, 3), "uint8")).quantize(64)
    image.save(path, compression=compression)
    assert_reads(path, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero_is_turned_round(path, dtype):
    samples = random((7, 9, 1), dtype)
    tifffile.imwrite(path, np.iinfo(dtype).max - samples[..., 0], photometric="miniswhite")
    assert_reads(path, samples)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(path, orientation):
    upright = random((6, 9, 3), "uint16")
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(path, stored, photometric="rgb", extratags=[tag])
    assert_reads(path, upright)
    write_picture(path, read_picture(path))
    assert_reads(path, upright)


def test_orientation_of_a_fax_is_applied_once(path):
    bits = np.random.default_rng(0).integers(0, 2, (6, 9)).astype(bool)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(bits).save(path, compression="group4", exif=exif)
    assert_reads(path, np.rot90(bits, -1)[..., np.newaxis] * np.uint8(255))


def test_other_programs_read_what_is_written(path):
    for dtype, channels in (("uint8", 3), ("uint16", 1), ("float32", 3)):
        samples = random((37, 53, channels), dtype)
        write_picture(path, Picture(samples))
        read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(37, 53, -1)[..., ::-1]
        np.testing.assert_array_equal(read, samples)


def test_premultiplied_alpha_stays_what_it_is(path, tmp_path):
    samples = random((7, 9, 4), "uint16")
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(path)
    with pytest.raises(PictureError, match="multiplied by alpha; write a TIFF"):
        write_picture(tmp_path / "a.png", picture)
    write_picture(path, picture, strip_metadata=True)
    assert tifffile.TiffFile(path).pages.first.extrasamples == (1,)
    assert_reads(path, samples)


def test_a_thumbnail_or_a_pyramid_is_not_a_second_picture(path):
    samples = random((64, 64, 3), "uint8")
    with tifffile.TiffWriter(path) as file:
        file.write(samples, photometric="rgb", metadata=None)
        file.write(samples[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert_reads(path, samples)


def test_thumbnails_alone_are_refused(path):
    # What a camera raw file looks like.
    tifffile.imwrite(path, random((8, 8, 3), "uint8"), photometric="rgb", subfiletype=1)
    assert "no picture but thumbnails" in refusal(path)


def test_several_pages_and_stacks_are_refused(path):
    frames = random((3, 16, 16), "uint8")
    tifffile.imwrite(path, frames, photometric="minisblack")
    assert "several pictures" in refusal(path)
    tifffile.imwrite(path, frames, photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    assert "a stack" in refusal(path)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "int64", "complex64"])
def test_other_depths_are_named_and_refused(path, dtype):
    tifffile.imwrite(path, np.zeros((8, 8), dtype), photometric="minisblack")
    assert f"its samples are {dtype}; supported are uint8, uint16 and float" in refusal(path)


@pytest.mark.parametrize(("photometric", "channels"), [("separated", 4), ("rgb", 5), ("cielab", 3)])
def test_other_colours_are_refused(path, photometric, channels):
    tifffile.imwrite(path, np.zeros((8, 8, channels), np.uint8), photometric=photometric)
    assert "convert it to gray or RGB" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_and_infinity_are_refused(path, value, dtype):
    samples = random((8, 8, 3), dtype)
    samples[3, 4, 1] = value
    tifffile.imwrite(path, samples, photometric="rgb")
    assert "NaN or infinite" in refusal(path)


@pytest.mark.filterwarnings("error")
def test_a_double_beyond_float32_is_refused(path):
    tifffile.imwrite(path, np.full((8, 8), 1e300), photometric="minisblack")
    assert "NaN or infinite" in refusal(path)


def written(samples, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, photometric="rgb", metadata=None, **options)
    return bytearray(stream.getvalue())


def set_tag(data, tag, value):
    found = tifffile.TiffFile(io.BytesIO(data)).pages.first.tags[tag]
    data[found.valueoffset : found.valueoffset + 4] = struct.pack("<I", value)


def test_bombs_and_zero_sizes_are_refused_by_the_header(path):
    data = written(random((8, 8, 3), "uint8"))
    set_tag(data, 256, 100_000)
    set_tag(data, 257, 100_000)
    path.write_bytes(data)
    assert "--max-pixels" in refusal(path)
    set_tag(data, 256, 0)
    path.write_bytes(data)
    assert "zero-sized" in refusal(path)


def test_a_strip_that_inflates_beyond_its_size_is_refused_in_little_memory(path):
    data = written(np.zeros((16, 16, 3), np.uint8), compression="zlib")
    bomb = zlib.compress(bytes(50_000_000))
    set_tag(data, 273, len(data))
    set_tag(data, 279, len(bomb))
    path.write_bytes(data + bomb)
    tracemalloc.start()
    assert "holds more than its size" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_strip_beyond_the_end_is_refused(path, compression):
    data = written(random((64, 64, 3), "uint8"), compression=compression)
    path.write_bytes(data[:-100])
    assert "cut short" in refusal(path)


def test_directories_in_a_ring_end(path):
    data = written(random((8, 8, 3), "uint8"))
    end = 10 + 12 * int.from_bytes(data[8:10], "little")
    data[end : end + 4] = struct.pack("<I", 8)
    path.write_bytes(data)
    assert read_picture(path).header.width == 8


def test_damaged_exif_is_left_out_with_a_warning(path):
    picture = Picture(random((8, 8, 3), "uint8"), None, Metadata(exif=b"Exif\0\0nonsense"))
    with pytest.warns(UserWarning, match="could not keep EXIF"):
        write_picture(path, picture)
    assert_reads(path, picture.samples)


@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}, {"predictor": True}])
@pytest.mark.parametrize("kept", [0.5, 0.8])
def test_a_zeroed_tail_of_deflated_pixels_is_refused(path, layout, kept):
    data = written(random((37, 53, 3), "uint8"), compression="zlib", **layout)
    place = tifffile.TiffFile(io.BytesIO(data)).pages.first
    start, length = place.dataoffsets[-1], place.databytecounts[-1]
    cut = start + int(kept * length)
    data[cut : start + length] = bytes(start + length - cut)
    path.write_bytes(data)
    assert "damaged" in refusal(path) or "cut short" in refusal(path)


def test_a_zeroed_tail_of_lzw_is_refused(path):
    Image.fromarray(random((37, 53, 3), "uint8")).save(path, compression="tiff_lzw")
    data = bytearray(path.read_bytes())
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    end = page.dataoffsets[0] + page.databytecounts[0]
    data[end - 1000 : end] = bytes(1000)
    path.write_bytes(data)
    assert "cut short" in refusal(path)


@pytest.mark.parametrize("change", [lambda c: c ^ 1, lambda c: 0])
def test_the_checksum_of_a_deflated_strip_counts(path, change):
    data = written(np.zeros((16, 16, 3), np.uint8), compression="zlib")
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    end = page.dataoffsets[0] + page.databytecounts[0] - 1
    data[end] = change(data[end])
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_a_last_strip_that_is_padded_is_whole(path):
    samples = random((6, 9, 3), "uint8")
    data = written(samples, compression="zlib", rowsperstrip=4)
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    strip = zlib.compress(samples[4:].tobytes() + bytes(2 * 27))
    for tag, value in ((273, len(data)), (279, len(strip))):
        entry = page.tags[tag]
        size = entry.valuebytecount // entry.count
        at = entry.valueoffset + size
        data[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(data + strip)
    assert_reads(path, samples)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_several_pages_cut_to_one_are_refused(path, bigtiff):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=bigtiff) as file:
        for _ in range(2):
            file.write(random((16, 16), "uint8"), metadata=None)
    data = stream.getvalue()
    second = tifffile.TiffFile(io.BytesIO(data)).pages[1].offset
    assert second < len(data)
    for end in (second, second + 10):
        path.write_bytes(data[:end])
        assert "cut short" in refusal(path)


def directories(count, entries=((254, 4, 1, 1),)):
    """A TIFF of so many directories of thumbnails."""
    data = bytearray(b"II*\0\x08\0\0\0")
    for index in range(count):
        data += struct.pack("<H", len(entries))
        data += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        data += struct.pack("<I", len(data) + 4 if index < count - 1 else 0)
    return bytes(data)


def test_too_many_directories_are_refused_at_once(path):
    path.write_bytes(directories(200_000))
    assert "more than 1000 directories" in refusal(path)
    path.write_bytes(directories(2, [(tag, 7, 1, 0) for tag in range(60_000)]))
    assert "more than 100000 entries" in refusal(path)
    path.write_bytes(directories(20))
    assert "no picture but thumbnails" in refusal(path)


def strips(rows, columns, strips, compression):
    """A gray TIFF of one row a strip."""
    data = bytearray(b"II*\0\0\0\0\0")
    places = []
    for strip in strips:
        places.append((len(data), len(strip)))
        data += strip
    arrays = []
    for numbers in zip(*places, strict=True):
        arrays.append(len(data))
        data += struct.pack(f"<{rows}I", *numbers)
    data[4:8] = struct.pack("<I", len(data))
    tags = {256: columns, 257: rows, 258: 8, 259: compression, 262: 1, 277: 1, 278: 1}
    entries = {tag: (4, 1, value) for tag, value in tags.items()}
    entries |= {273: (4, rows, arrays[0]), 279: (4, rows, arrays[1])}
    data += struct.pack("<H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        data += struct.pack("<HHII", tag, kind, count, value)
    return bytes(data) + bytes(4)


def test_many_strips_of_packbits_are_unpacked_together(path):
    samples = random((20_000, 1, 1), "uint8")
    runs = [bytes([256 - 63, value]) for value in samples[:, 0, 0]]
    path.write_bytes(strips(20_000, 64, runs, 32773))
    start = time.process_time()
    read = read_picture(path).samples
    assert time.process_time() - start < 2
    np.testing.assert_array_equal(read, samples.repeat(64, axis=1))


def test_more_strips_than_the_file_has_data_for_are_refused(path):
    path.write_bytes(strips(60_000, 2, [b"\xff\x07"] * 60_000, 32773))
    assert "60000 strips or tiles are more than it has data for" in refusal(path)


def test_strips_that_are_much_larger_or_smaller_than_their_rows_are_refused(path):
    path.write_bytes(strips(2, 2_000_000, [b"aa", b"aa"], 1))
    assert "too little data" in refusal(path)
    path.write_bytes(strips(2, 8, [b"\x80" * 5_000_000, b"\xf9\x07"], 32773))
    assert "more data than its pixels can take" in refusal(path)


def test_too_little_data_is_noticed_before_memory_is_taken(path):
    path.write_bytes(strips(10_000, 10_000, [zlib.compress(b"")] * 10_000, 8))
    tracemalloc.start()
    assert "too little data" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


XMP = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>'


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [2, 6, 8])
def test_orientation_in_xmp_is_that_of_the_pixels(path, tmp_path, suffix, orientation):
    packet = XMP % orientation
    tags = [(274, "H", 1, orientation, True), (700, "B", len(packet), packet, True)]
    tifffile.imwrite(path, random((6, 9, 3), "uint8"), photometric="rgb", extratags=tags)
    write_picture(tmp_path / f"b{suffix}", read_picture(path))
    assert read_picture(tmp_path / f"b{suffix}").metadata.xmp == XMP % 1


@pytest.mark.parametrize("unit", ["NONE", "CENTIMETER", "INCH"])
def test_resolutions_keep_their_meaning(path, unit):
    tifffile.imwrite(path, random((6, 9), "uint8"), resolution=(6.25, 3.5), resolutionunit=unit)
    write_picture(path, read_picture(path))
    page = tifffile.TiffFile(path).pages.first
    assert page.resolutionunit == (1 if unit == "NONE" else 2)
    factor = 2.54 if unit == "CENTIMETER" else 1
    read = page.get_resolution()
    assert read == pytest.approx((6.25 * factor, 3.5 * factor), rel=1e-4)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_imagej_s_scale_is_kept(path, byteorder):
    metadata = {"unit": "um", "axes": "YX"}
    samples = random((6, 9), "uint16")
    tifffile.imwrite(
        path, samples, imagej=True, resolution=(6.15, 6.15), metadata=metadata, byteorder=byteorder
    )
    write_picture(path, read_picture(path))
    with tifffile.TiffFile(path) as file:
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages.first.get_resolution() == pytest.approx((6.15, 6.15), rel=1e-4)
        np.testing.assert_array_equal(file.asarray(), samples)


def test_stacks_of_imagej_are_refused(path):
    tifffile.imwrite(path, random((3, 6, 9), "uint8"), imagej=True)
    assert "a stack" in refusal(path) or "several pictures" in refusal(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_the_start_of_the_file_so_that_its_offsets_stay_right(path, dtype, order):
    exif = Image.Exif()
    exif.endian = order
    exif[271], exif[40093] = "Zoë".encode(), "Zoë".encode("utf-16-le")
    note = bytes(range(120))
    exif.get_ifd(0x8769).update({0x927C: note, 0x9286: b"UNICODE\0\x84\x8c"})
    block = exif.tobytes()
    samples = random((37, 53, 3), dtype)
    write_picture(path, Picture(samples, None, Metadata(exif=block)))
    data = path.read_bytes()
    assert data.index(note) == block.index(note) - len(b"Exif\0\0")
    assert_reads(path, samples)
    again = read_picture(path).metadata.exif
    assert again.index(note) == block.index(note)
    read = Image.Exif()
    read.load(again)
    assert dict(read.get_ifd(0x8769)) == {0x927C: note, 0x9286: b"UNICODE\0\x84\x8c"}
    assert read[40093] == "Zoë".encode("utf-16-le")


def test_a_maker_note_that_would_move_is_named(path, tmp_path):
    exif = Image.Exif()
    exif.endian = "<"
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[0x927C] = bytes(range(120))
    samples = random((200, 200, 3), "uint8")
    write_picture(path, Picture(samples, None, Metadata(exif=exif.tobytes())))
    data = bytearray(path.read_bytes())
    entry = data.index(struct.pack("<H", 0x927C)) + 8
    data[entry : entry + 4] = struct.pack("<I", len(data))
    path.write_bytes(data + bytes(range(120)))
    with pytest.warns(UserWarning, match="could not keep EXIF MakerNote"):
        write_picture(tmp_path / "b.jpg", read_picture(path))


def test_damaged_tags_are_left_out_by_name(path, tmp_path):
    data = written(random((8, 8, 3), "uint8"), extratags=[(33723, 1, 20, bytes(20), True)])
    entry = data.index(struct.pack("<HHI", 33723, 1, 20)) + 4
    data[entry : entry + 4] = struct.pack("<I", 10_000_000)
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"could not keep IPTC \(damaged\)"):
        write_picture(tmp_path / "b.tif", read_picture(path))


def test_georeferences_stay_until_the_pixels_are_turned(path, tmp_path):
    tag = (33550, "d", 3, (0.5, 0.5, 0.0), True)
    for orientation in (1, 6):
        turn = (274, "H", 1, orientation, True)
        samples = random((6, 9, 3), "uint8")
        tifffile.imwrite(path, samples, photometric="rgb", extratags=[tag, turn])
        picture = read_picture(path)
        if orientation == 1:
            write_picture(tmp_path / "b.tif", picture)
            written = tifffile.TiffFile(tmp_path / "b.tif").pages.first.tags
            assert written.valueof(33550) == (0.5, 0.5, 0.0)
        else:
            with pytest.warns(UserWarning, match="could not keep GeoTIFF"):
                write_picture(tmp_path / "b.tif", picture)


def test_a_description_in_json_of_tifffile_is_no_metadata(path, tmp_path):
    tifffile.imwrite(path, random((6, 9, 3), "uint8"), photometric="rgb")
    assert b'{"shape"' in path.read_bytes()
    write_picture(tmp_path / "b.tif", read_picture(path))
    assert b'{"shape"' not in (tmp_path / "b.tif").read_bytes()
