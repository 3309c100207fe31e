import io
import struct
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
