import io

import pytest
from PIL import Image

from keras_rdanet.image import metadata as exif

MAKER, EXPOSURE = 0x010F, 0x829A


def block(orientation=None, order="<"):
    made = Image.Exif()
    made.endian = order
    made[MAKER] = "Maker"
    if orientation:
        made[0x0112] = orientation
    made.get_ifd(0x8769)[EXPOSURE] = 0.25
    return made.tobytes()


def parse(data):
    read = Image.Exif()
    read.load(data)
    return read


def link(data):
    """Where the directory of the thumbnail starts."""
    end = 16 + 12 * int.from_bytes(data[14:16], "little")
    return int.from_bytes(data[end : end + 4], "little")


def with_thumbnail(data, thumbnail):
    """Append a directory with a thumbnail, as cameras do."""
    start = len(data) - len(exif.PREFIX)
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in ((0x0201, start + 30), (0x0202, len(thumbnail)))
    )
    edited = bytearray(data)
    count = int.from_bytes(data[14:16], "little")
    edited[16 + 12 * count : 20 + 12 * count] = start.to_bytes(4, "little")
    return bytes(edited) + b"\2\0" + entries + bytes(4) + thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_and_set_to_1_with_the_rest_kept(orientation, order):
    data = block(orientation, order)
    assert exif.orientation(data) == orientation
    upright = exif.upright(data)
    assert exif.orientation(upright) == 1
    assert len(upright) == len(data)
    assert parse(upright)[MAKER] == "Maker"
    assert parse(upright).get_ifd(0x8769)[EXPOSURE] == 0.25


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_size_is_set_wherever_it_is_stated(order):
    made = Image.Exif()
    made.endian = order
    made[0x0100], made[0x0101], made[MAKER] = 40, 30, "Maker"
    made.get_ifd(0x8769).update({0xA002: 40, 0xA003: 30, EXPOSURE: 0.25})
    data = made.tobytes()
    edited = exif.resized(data, 90, 120)
    assert len(edited) == len(data)
    read = parse(edited)
    assert (read[0x0100], read[0x0101], read[MAKER]) == (120, 90, "Maker")
    assert dict(read.get_ifd(0x8769)) == {0xA002: 120, 0xA003: 90, EXPOSURE: 0.25}
    assert exif.resized(block(), 90, 120) == block()
    assert exif.resized(data[:20], 90, 120) == data[:20]
    assert exif.resized(None, 90, 120) is None


def test_silence_and_nonsense_mean_upright():
    assert exif.orientation(None) == 1
    assert exif.orientation(block()) == 1
    assert exif.stated_orientation(block()) is None
    assert exif.orientation(block(9)) == 1
    assert exif.upright(block()) == block()


@pytest.mark.parametrize("length", [0, 4, 6, 8, 10, 14, 20, 30])
def test_damaged_exif_is_left_alone(length):
    data = block(6)[:length]
    assert exif.orientation(data) == 1 or length > 26
    exif.upright(data)


def test_thumbnail_of_the_noisy_picture_goes():
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(thumbnail, "JPEG")
    data = with_thumbnail(block(6), thumbnail.getvalue())
    upright = exif.upright(data)
    assert thumbnail.getvalue() not in upright
    assert link(data) > 0 == link(upright)
    assert parse(upright)[MAKER] == "Maker"
    inside = exif.upright(data + b"maker note")
    assert inside.endswith(b"maker note")
    assert thumbnail.getvalue() not in inside


def test_prefix_is_added_once():
    assert exif.with_prefix(b"II*\0") == b"Exif\0\0II*\0"
    assert exif.with_prefix(b"Exif\0\0II*\0") == b"Exif\0\0II*\0"
    assert exif.with_prefix(None) is None
    assert exif.with_prefix(b"") is None


def test_xmp_orientation_is_set_to_1():
    assert exif.upright_xmp(b'<a tiff:Orientation="6"/>') == b'<a tiff:Orientation="1"/>'
    assert exif.upright_xmp(b"<tiff:Orientation>8</tiff:Orientation>") == (
        b"<tiff:Orientation>1</tiff:Orientation>"
    )
