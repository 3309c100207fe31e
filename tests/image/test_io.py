import io
import os
import stat
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image import io as picture_io
from keras_rdanet.image.io import (
    READ_SUFFIXES,
    SUFFIXES,
    Metadata,
    Picture,
    PictureError,
    PictureHeader,
    check_target,
    probe_size,
    read_picture,
    to_float,
    to_samples,
    write_picture,
)
from keras_rdanet.image.picture import Format, Source, unkept

ICC = bytes(range(256)) * 5
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">a note</x:xmpmeta>'
MAKER, ORIENTATION, EXPOSURE, LATITUDE = 0x010F, 0x0112, 0x829A, 2

EXACT = [
    (suffix, dtype, channels, alpha)
    for suffix, dtypes, alphas in (
        (".png", ("uint8", "uint16"), (False, True)),
        (".tif", ("uint8", "uint16", "float32"), (False, True)),
        (".webp", ("uint8",), (False, True)),
        (".bmp", ("uint8",), (False,)),
    )
    for dtype in dtypes
    for channels in (1, 3)
    for alpha in alphas
    if (suffix, channels) != (".webp", 1)
]


def random(shape, dtype="uint8"):
    rng = np.random.default_rng(0)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def random_picture(dtype="uint8", channels=3, alpha=False, metadata=None, size=(37, 53)):
    return Picture(
        random((*size, channels), dtype),
        random(size, dtype) if alpha else None,
        metadata or Metadata(),
    )


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[MAKER] = "Maker"
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8769)[EXPOSURE] = 0.25
    exif.get_ifd(0x8825)[LATITUDE] = (1.0, 2.0, 3.5)
    return exif.tobytes()


def smooth(height=120, width=180):
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x + y], axis=-1).astype(np.uint8)


def encoded(container, image=None, **options):
    stream = io.BytesIO()
    Image.fromarray(smooth() if image is None else image).save(stream, container, **options)
    return stream.getvalue()


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("suffix", "dtype", "channels", "alpha"), EXACT)
def test_lossless_containers_return_what_they_got(tmp_path, suffix, dtype, channels, alpha):
    picture = random_picture(dtype, channels, alpha)
    path = tmp_path / f"é 猫{suffix}"
    write_picture(path, picture)
    read = read_picture(path)
    assert read.samples.dtype == dtype
    np.testing.assert_array_equal(read.samples, picture.samples)
    assert (read.alpha is None) == (picture.alpha is None)
    if alpha:
        assert read.alpha.dtype == dtype
        np.testing.assert_array_equal(read.alpha, picture.alpha)
    assert probe_size(path) == read.header == PictureHeader(37, 53, channels, dtype, alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_depth_comes_from_the_header_not_from_the_values(tmp_path, suffix):
    dark = np.arange(201, dtype=np.uint16).reshape(3, 67, 1)
    write_picture(tmp_path / f"dark{suffix}", Picture(dark))
    read = read_picture(tmp_path / f"dark{suffix}").samples
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, dark)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_and_keeps_gray(tmp_path, channels):
    samples = smooth()[..., :channels]
    write_picture(tmp_path / "a.jpg", Picture(samples))
    read = read_picture(tmp_path / "a.jpg").samples
    assert read.shape == samples.shape
    assert np.abs(read.astype(int) - samples).mean() < 1
    with Image.open(tmp_path / "a.jpg") as image:
        assert channels == 1 or image.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # 4:4:4


def test_webp_holds_gray_as_three_equal_channels(tmp_path):
    picture = random_picture(channels=1, alpha=True)
    write_picture(tmp_path / "a.webp", picture)
    read = read_picture(tmp_path / "a.webp")
    np.testing.assert_array_equal(read.samples, picture.samples.repeat(3, axis=-1))
    np.testing.assert_array_equal(read.alpha, picture.alpha)


@pytest.mark.parametrize("container", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, container, orientation):
    # Turning this by Pillow gives the file whose upright picture it is.
    upright = random((16, 24, 4)) if container != "JPEG" else smooth(16, 24)
    turn_back = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ][orientation - 1]
    image = Image.fromarray(upright)
    image = image if turn_back is None else image.transpose(turn_back)
    path = tmp_path / "turned"
    options = {"lossless": True, "exact": True} if container == "WEBP" else {"quality": 95}
    image.save(path, container, exif=exif_block(orientation), **options)

    picture = read_picture(path)
    assert (picture.header.height, picture.header.width) == (16, 24)
    assert probe_size(path) == picture.header
    if container == "JPEG":
        assert np.abs(picture.samples.astype(int) - upright).mean() < 3
    else:
        np.testing.assert_array_equal(picture.samples, upright[..., :3])
        np.testing.assert_array_equal(picture.alpha, upright[..., 3])

    again = tmp_path / "again.png"
    write_picture(again, picture)
    with Image.open(again) as image:
        assert image.getexif().get(ORIENTATION, 1) == 1
    np.testing.assert_array_equal(read_picture(again).samples, picture.samples)


def test_orientation_of_a_16_bit_png_is_applied_once(tmp_path):
    path, turned = tmp_path / "a.png", tmp_path / "b.png"
    picture = random_picture("uint16", metadata=Metadata(exif=exif_block()))
    write_picture(path, picture)
    upright, sideways = exif_block(1)[6:], exif_block(6)[6:]
    data = path.read_bytes()
    start = data.index(upright) - 4
    chunk = b"eXIf" + sideways
    end = start + len(chunk) + 4
    turned.write_bytes(data[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[end:])
    read = read_picture(turned).samples
    np.testing.assert_array_equal(read, np.rot90(picture.samples, -1))


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".jpg", "uint8"),
        (".png", "uint8"),
        (".png", "uint16"),
        (".webp", "uint8"),
        (".tif", "uint8"),
        (".tif", "uint16"),
        (".tif", "float32"),
    ],
)
def test_exif_icc_and_xmp_are_kept_or_stripped(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    picture = random_picture(dtype, metadata=Metadata(exif_block(6), ICC, XMP, (300.0, 300.0)))
    write_picture(path, picture)
    for read in (read_picture(path), read_again(tmp_path, path)):
        assert read.header.height == 37  # samples are upright whatever the EXIF said
        assert read.metadata.icc == ICC
        assert read.metadata.xmp == XMP
        exif = Image.Exif()
        exif.load(read.metadata.exif)
        assert exif[MAKER] == "Maker"
        assert exif.get(ORIENTATION, 1) == 1
        assert exif.get_ifd(0x8769)[EXPOSURE] == 0.25
        assert exif.get_ifd(0x8825)[LATITUDE] == (1.0, 2.0, 3.5)
        if suffix != ".webp":
            assert read.metadata.dpi == pytest.approx((300, 300), abs=0.01)

    write_picture(path, picture, strip_metadata=True)
    stripped = read_picture(path).metadata
    assert (stripped.exif, stripped.icc, stripped.xmp) == (None, None, None)


def read_again(tmp_path, path):
    again = tmp_path / f"again{path.suffix}"
    write_picture(again, read_picture(path))
    return read_picture(again)


def test_pillow_sees_the_metadata_of_a_tiff(tmp_path):
    path = tmp_path / "a.tif"
    write_picture(path, random_picture(metadata=Metadata(exif_block(), ICC, XMP)))
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[MAKER] == "Maker"
        assert exif.get_ifd(0x8769)[EXPOSURE] == 0.25
        assert image.info["icc_profile"] == ICC


def test_metadata_too_large_for_a_jpeg_warns_and_the_picture_is_written(tmp_path):
    picture = Picture(smooth(), None, Metadata(xmp=bytes(70_000)))
    with pytest.warns(UserWarning, match="JPEG could not keep XMP"):
        write_picture(tmp_path / "a.jpg", picture)
    assert read_picture(tmp_path / "a.jpg").metadata.xmp is None


@pytest.mark.parametrize(
    ("suffix", "dtype", "alpha", "way_out"),
    [
        (".jpg", "uint8", True, "cannot hold the alpha channel; write a PNG, TIFF or WebP"),
        (".bmp", "uint8", True, "cannot hold the alpha channel"),
        (".jpg", "uint16", False, "JPEG cannot hold uint16 samples; write a PNG or TIFF"),
        (".webp", "uint16", False, "write a PNG or TIFF"),
        (".bmp", "float32", False, "write a TIFF"),
        (".png", "float32", False, "PNG cannot hold float32 samples; write a TIFF"),
        (".gif", "uint8", False, "use one of .jpg, .jpeg, .png"),
        ("", "uint8", False, "use one of .jpg, .jpeg, .png"),
    ],
)
def test_targets_that_cannot_hold_the_picture_name_the_way_out(
    tmp_path, suffix, dtype, alpha, way_out
):
    picture = random_picture(dtype, alpha=alpha)
    path = tmp_path / f"a{suffix}"
    for attempt in (write_picture, lambda path, picture: check_target(path, picture.header)):
        with pytest.raises(PictureError, match=way_out) as caught:
            attempt(path, picture)
        assert str(caught.value).startswith(str(path))
    assert os.listdir(tmp_path) == []


def test_webp_has_a_largest_side(tmp_path):
    with pytest.raises(PictureError, match="at most 16383 pixels a side, not 16384 x 1"):
        write_picture(tmp_path / "a.webp", Picture(np.zeros((1, 16384, 3), np.uint8)))


def test_missing_folder_is_an_os_error_that_names_the_target(tmp_path):
    path = tmp_path / "no" / "a.png"
    with pytest.raises(FileNotFoundError, match=r"cannot write .*a\.png: there is no folder"):
        write_picture(path, random_picture())


def test_a_folder_is_no_target(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        write_picture(tmp_path / "a.png", random_picture())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.png"
    write_picture(path, random_picture())
    before = path.read_bytes()
    broken = random_picture(metadata=Metadata(icc="no bytes"))
    with pytest.raises(TypeError):
        write_picture(path, broken)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_permissions_and_links_survive(tmp_path):
    path, link = tmp_path / "a.png", tmp_path / "link.png"
    write_picture(path, random_picture())
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode
    path.chmod(0o640)
    link.symlink_to(path)
    write_picture(link, random_picture(channels=1))
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert read_picture(path).header.channels == 1


def test_names_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / f"{'猫' * 83}.png"
    write_picture(path, random_picture())
    assert probe_size(path).width == 53


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "a folder" in refusal(tmp_path)
    path = tmp_path / "a.png"
    path.touch()
    assert "empty file" in refusal(path)
    path.write_bytes(b"Dear diary, today I looked at noisy pictures.")
    assert (
        "not a picture in a known format (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC)"
        in refusal(path)
    )


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("container", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_truncated_files_are_refused(tmp_path, container, fraction):
    data = encoded(container, random((60, 90, 3)))
    path = tmp_path / "a"
    path.write_bytes(data[: int(fraction * len(data))])
    assert "cut short" in refusal(path) or "damaged" in refusal(path)


@pytest.mark.parametrize("container", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_missing_last_byte_is_noticed(tmp_path, container):
    path = tmp_path / "a"
    path.write_bytes(encoded(container)[:-1])
    assert "cut short" in refusal(path)


def test_content_counts_not_the_suffix(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("JPEG"))
    assert read_picture(path).samples.shape == (120, 180, 3)


def test_the_pixel_limit_is_the_caller_s(tmp_path):
    path = tmp_path / "a.png"
    write_picture(path, random_picture())
    assert read_picture(path, max_pixels=37 * 53).header.width == 53
    for read in (read_picture, probe_size):
        with pytest.raises(PictureError, match=r"53 x 37 = 1961 pixels .*1960.*--max-pixels"):
            read(path, max_pixels=37 * 53 - 1)


def test_float_and_back_is_exact_for_every_level():
    for dtype, count in ((np.uint8, 256), (np.uint16, 65536)):
        levels = np.arange(count).astype(dtype)
        values = to_float(levels)
        assert values.dtype == np.float32
        assert (values.min(), values.max()) == (0, 1)
        np.testing.assert_array_equal(to_samples(values, dtype), levels)


def test_samples_are_clipped_and_rounded_half_to_even():
    values = np.array([-0.2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 0.5, 254.5 / 255, 1, 1.7])
    expected = [0, 0, 2, 2, 128, 254, 255, 255]
    np.testing.assert_array_equal(to_samples(values.astype(np.float32), np.uint8), expected)


def test_float_samples_are_left_alone():
    values = np.array([-0.5, 2.0], np.float32)
    np.testing.assert_array_equal(to_samples(to_float(values), np.float32), values)


@pytest.mark.parametrize(
    ("samples", "alpha"),
    [
        (np.zeros((4, 4), np.uint8), None),
        (np.zeros((4, 4, 2), np.uint8), None),
        (np.zeros((0, 4, 1), np.uint8), None),
        (np.zeros((4, 4, 1), np.int16), None),
        (np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5), np.uint8)),
        (np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint16)),
    ],
)
def test_a_picture_of_another_shape_or_dtype_is_refused(samples, alpha):
    with pytest.raises(ValueError, match="must be"):
        Picture(samples, alpha)


def test_suffixes_are_case_insensitive(tmp_path):
    assert ".jpeg" in SUFFIXES
    write_picture(tmp_path / "A.PNG", random_picture())
    assert read_picture(tmp_path / "A.PNG").header.width == 53


def test_a_new_format_is_a_file_and_a_line_here(tmp_path, monkeypatch):
    # A PGM, as its file would define it, and the line of `io`.
    def open_pgm(stream):
        width, height = map(int, stream.read(17).split()[1:3])

        def pixels():
            data = stream.read(height * width)
            if len(data) < height * width:
                raise PictureError("cut short: rows are missing")
            return np.frombuffer(data, np.uint8).reshape(height, width, 1)

        header = PictureHeader(height, width, 1, np.dtype(np.uint8), False)
        return Source(header, 1, pixels, Metadata)

    def write_pgm(stream, pixels, metadata, quality):
        height, width = pixels.shape[:2]
        stream.write(b"P5 %4d %4d 255\n" % (width, height) + pixels.tobytes())
        return unkept(metadata, "PGM")

    def is_pgm(start):
        return start.startswith(b"P5")

    pgm = Format("PGM", (".pgm",), is_pgm, open_pgm, write_pgm, ("uint8",), max_side=9999)
    monkeypatch.setattr(picture_io, "FORMATS", (*picture_io.FORMATS, pgm))

    picture = random_picture(channels=1, metadata=Metadata(icc=ICC))
    path = tmp_path / "a.pgm"
    check_target(path, picture.header)
    with pytest.warns(UserWarning, match="PGM could not keep ICC profile"):
        write_picture(path, picture)
    np.testing.assert_array_equal(read_picture(path).samples, picture.samples)
    assert probe_size(path) == picture.header
    with pytest.raises(PictureError, match="limit of 9"):
        read_picture(path, max_pixels=9)
    with pytest.raises(PictureError, match="PGM cannot hold uint16 samples"):
        write_picture(path, random_picture("uint16", channels=1))
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in refusal(path)


def test_formats_have_each_a_name_and_suffixes_of_their_own():
    names = [known.name for known in picture_io.FORMATS]
    assert len(set(names)) == len(names)
    assert len(set(READ_SUFFIXES)) == len(READ_SUFFIXES)
    assert set(SUFFIXES) < set(READ_SUFFIXES)
    assert set(READ_SUFFIXES) - set(SUFFIXES) == {".gif", ".avif", ".heic", ".heif"}
