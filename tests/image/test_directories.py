import io
import struct

import pytest

from keras_rdanet.image.directories import (
    LONG,
    RATIONAL,
    SHORT,
    Directories,
    lay_out,
    numbers_field,
    reordered,
)
from keras_rdanet.image.picture import PictureError


def file(fields, order="<", big=False):
    """A TIFF of one directory."""
    mark = b"II" if order == "<" else b"MM"
    header = struct.pack(order + "2sHHHQ", mark, 43, 8, 0, 16) if big else None
    header = header or struct.pack(order + "2sHI", mark, 42, 8)
    return header + lay_out(fields, len(header), order, big=big)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_laid_out_is_read(order, big):
    numbers = {256: (SHORT, [7]), 282: (RATIONAL, [300, 7]), 273: (LONG, [1, 2, 3])}
    fields = [numbers_field(tag, kind, found, order) for tag, (kind, found) in numbers.items()]
    read = Directories(io.BytesIO(file([*fields, (271, 2, 6, b"Maker\0")], order, big)))
    directory = read.directory(read.first)
    assert sorted(directory.entries) == [256, 271, 273, 282]
    assert directory.next == 0
    for tag, (_, found) in numbers.items():
        assert read.numbers(directory.entries[tag]) == tuple(found)
    assert read.value(directory.entries[271]) == b"Maker\0"


def test_a_value_may_be_an_offset():
    data = file([(37500, 7, 20, 100)]).ljust(100, b"\0") + bytes(range(20))
    read = Directories(io.BytesIO(data))
    assert read.value(read.directory(read.first).entries[37500]) == bytes(range(20))


def values(data):
    """The values of all fields of the first directory."""
    read = Directories(io.BytesIO(data))
    return [read.value(entry) for entry in read.directory(read.first).entries.values()]


@pytest.mark.parametrize("cut", [4, 7, 9, 15, 40])
def test_what_is_missing_is_refused(cut):
    data = file([(271, 2, 20, bytes(20)), (272, 2, 2, b"a\0")])
    assert values(data) == [bytes(20), b"a\0"]
    with pytest.raises(PictureError, match="cut short"):
        values(data[:cut])


def test_the_entries_and_bytes_of_all_directories_have_a_limit():
    entries = b"".join(struct.pack("<HHII", tag, 1, 60_000_000, 0) for tag in range(1, 60_001))
    data = struct.pack("<2sHIH", b"II", 42, 8, 60_000) + entries + bytes(4)
    read = Directories(io.BytesIO(data))
    read.directory(8)
    with pytest.raises(PictureError, match="more than 100000 entries"):
        read.directory(8)
    with pytest.raises(PictureError, match="metadata is larger"):
        values(data.ljust(60_000_000, b"\0"))


def test_the_order_of_bytes_is_turned_round_in_each_number():
    assert reordered(b"abcd", SHORT) == b"badc"
    assert reordered(b"abcdefgh", RATIONAL) == b"dcbahgfe"
    assert reordered(b"abcd", 7) == b"abcd"
