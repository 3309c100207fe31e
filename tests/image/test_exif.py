import io

import pytest
from PIL import Image

from keras_rdanet.image.exif import PREFIX, Editor, orientation, resolution, with_prefix
from keras_rdanet.image.metadata import enlarged, upright
from keras_rdanet.image.picture import Metadata

MAKER, EXPOSURE = 0x010F, 0x829A


def block(stated=None, order="<"):
    made = Image.Exif()
    made.endian = order
    made[MAKER] = "Maker"
    if stated:
        made[0x0112] = stated
    made.get_ifd(0x8769)[EXPOSURE] = 0.25
    return made.tobytes()


def turned(data, orientation=1, height=30, width=40):
    return upright(Metadata(exif=data), orientation, height, width).exif


def grown(data, scale, height, width):
    return enlarged(Metadata(exif=data), scale, height, width).exif


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
    start = len(data) - len(PREFIX)
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in ((0x0201, start + 30), (0x0202, len(thumbnail)))
    )
    edited = bytearray(data)
    count = int.from_bytes(data[14:16], "little")
    edited[16 + 12 * count : 20 + 12 * count] = start.to_bytes(4, "little")
    return bytes(edited) + b"\2\0" + entries + bytes(4) + thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("stated", range(1, 9))
def test_orientation_is_read_and_set_to_1_with_the_rest_kept(stated, order):
    data = block(stated, order)
    assert orientation(data) == stated
    edited = turned(data, stated)
    assert orientation(edited) == 1
    assert len(edited) == len(data)
    assert parse(edited)[MAKER] == "Maker"
    assert parse(edited).get_ifd(0x8769)[EXPOSURE] == 0.25


def sized(order="<"):
    made = Image.Exif()
    made.endian = order
    made[0x0100], made[0x0101], made[MAKER] = 40, 30, "Maker"
    made[0x011A], made[0x011B], made[0x0128] = 300.0, 150.0, 2
    made.get_ifd(0x8769).update({0xA002: 40, 0xA003: 30, EXPOSURE: 0.25})
    return made.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sizes_and_resolutions_are_of_the_enlarged_picture(order):
    data = sized(order)
    edited = grown(data, 3, 90, 120)
    assert len(edited) == len(data)
    read = parse(edited)
    assert (read[0x0100], read[0x0101], read[MAKER]) == (120, 90, "Maker")
    assert dict(read.get_ifd(0x8769)) == {0xA002: 120, 0xA003: 90, EXPOSURE: 0.25}
    assert (resolution(data), resolution(edited)) == ((300, 150), (900, 450))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("stated", "swapped"), [(3, False), (6, True), (8, True)])
def test_sizes_and_resolutions_are_swapped_when_the_picture_is_turned(order, stated, swapped):
    height, width = (40, 30) if swapped else (30, 40)
    read = turned(sized(order), stated, height, width)
    assert dict(parse(read).get_ifd(0x8769))[0xA002] == width
    assert parse(read)[0x0101] == height
    assert resolution(read) == ((150, 300) if swapped else (300, 150))


def test_a_size_that_is_not_stated_is_not_added():
    assert grown(block(), 3, 90, 120) == block()
    assert grown(block()[:20], 3, 90, 120) == block()[:20]
    assert grown(None, 3, 90, 120) is None


@pytest.mark.parametrize(
    "change", [lambda m: upright(m, 6, 30, 40), lambda m: enlarged(m, 2, 8, 8)]
)
def test_places_in_pixels_go_and_are_named_when_the_pixels_move(change):
    made = Image.Exif()
    made.get_ifd(0x8769).update({EXPOSURE: 0.25, 0x9214: (5, 6, 7), 0xA215: 1.5})
    changed = change(Metadata(exif=made.tobytes()))
    assert dict(parse(changed.exif).get_ifd(0x8769)) == {EXPOSURE: 0.25, 0xA215: 1.5}
    assert [extra.name for extra in changed.extras] == ["EXIF SubjectArea"]
    assert upright(Metadata(exif=made.tobytes()), 1, 8, 8).exif == made.tobytes()


def test_silence_and_nonsense_mean_upright():
    assert orientation(None) == 1
    assert orientation(block()) == 1
    assert orientation(block(9)) == 1
    assert turned(block()) == block()
    assert resolution(block()) is None


@pytest.mark.parametrize("length", [0, 4, 6, 8, 10, 14, 20, 30])
def test_damaged_exif_is_left_alone(length):
    data = block(6)[:length]
    assert orientation(data) == 1 or length > 26
    assert Editor(data).exif == data
    turned(data, 6)


def test_thumbnail_of_the_noisy_picture_goes():
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(thumbnail, "JPEG")
    data = with_thumbnail(block(6), thumbnail.getvalue())
    edited = turned(data, 6)
    assert thumbnail.getvalue() not in edited
    assert link(data) > 0 == link(edited)
    assert parse(edited)[MAKER] == "Maker"
    inside = turned(data + b"maker note")
    assert inside.endswith(b"maker note")
    assert thumbnail.getvalue() not in inside


def test_prefix_is_added_once():
    assert with_prefix(b"II*\0") == b"Exif\0\0II*\0"
    assert with_prefix(b"Exif\0\0II*\0") == b"Exif\0\0II*\0"
    assert with_prefix(None) is None
    assert with_prefix(b"") is None
