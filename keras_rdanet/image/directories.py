"""The directories of TIFF files, which EXIF is built of as well."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from keras_rdanet.image.picture import MAX_FIELD, PictureError

EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
# Type -> its code in `struct`, and the number of these in a value.
_TYPES = {
    1: ("B", 1),
    ASCII: ("B", 1),
    SHORT: ("H", 1),
    LONG: ("I", 1),
    RATIONAL: ("I", 2),
    6: ("b", 1),
    UNDEFINED: ("B", 1),
    8: ("h", 1),
    9: ("i", 1),
    10: ("i", 2),
    11: ("f", 1),
    12: ("d", 1),
    13: ("I", 1),
    16: ("Q", 1),
    17: ("q", 1),
    18: ("Q", 1),
}
CLASSIC_KINDS = range(1, 13)  # those outside a BigTIFF
_MAX_NUMBERS = 1 << 21
_MAX_ENTRIES = 100_000  # limit for all directories together, which may overlap


# Tag, type, count, and the value in the byte order of the file or its offset.
Field = tuple[int, int, int, bytes | int]


@dataclass(frozen=True)
class Entry:
    """A field of a directory.

    Args:
        tag: Number that says what the field is about.
        kind: Type of its values.
        count: Number of its values.
        position: Offset in the file at which its values start.
    """

    tag: int
    kind: int
    count: int
    position: int

    @property
    def size(self) -> int:
        """The bytes of its values."""
        code, parts = _TYPES[self.kind]
        return self.count * parts * struct.calcsize("<" + code)


@dataclass(frozen=True)
class Directory:
    """The fields of one picture, or of one part of EXIF.

    Args:
        entries: The fields by their tag; those of an unknown type are left out.
        start: The offset of the directory.
        link: Position of the offset of the next directory.
        next: The offset of the next directory, 0 if this is the last one.
    """

    entries: dict[int, Entry]
    start: int
    link: int
    next: int


class Directories:
    """The directories of a TIFF or BigTIFF, read one at a time.

    Args:
        stream: The file; for EXIF, what follows its prefix.

    Raises:
        PictureError: if it is not a TIFF, or ends early.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.size = stream.seek(0, 2)
        self._entries_left, self._bytes_left = _MAX_ENTRIES, 2 * MAX_FIELD
        start = self._read(0, 8)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        version = struct.unpack((order or "<") + "H", start[2:4])[0]
        if order is None or version not in (42, 43):
            raise PictureError("damaged: not a TIFF")
        self.order: str = order
        self.mark = start[:2]
        self.big = version == 43
        self._offset = order + ("Q" if self.big else "I")
        (self.first,) = struct.unpack(self._offset, self._read(8, 8) if self.big else start[4:])

    def directory(self, offset: int) -> Directory:
        """Read the directory at an offset.

        Raises:
            PictureError: if it does not lie in the file.
        """
        count_code, entry_code, room = ("Q", "HHQ", 8) if self.big else ("H", "HHI", 4)
        start = offset + struct.calcsize("<" + count_code)
        (count,) = struct.unpack(self.order + count_code, self._read(offset, start - offset))
        self._entries_left -= count
        if self._entries_left < 0:
            raise PictureError(f"damaged: its directories have more than {_MAX_ENTRIES} entries")
        length = struct.calcsize("<" + entry_code) + room
        content = self._read(start, count * length)
        entries: dict[int, Entry] = {}
        for index in range(count):
            tag, kind, values = struct.unpack_from(self.order + entry_code, content, index * length)
            if kind not in _TYPES:
                continue
            entry = Entry(tag, kind, values, start + (index + 1) * length - room)
            if entry.size > room:
                (position,) = struct.unpack_from(self._offset, content, (index + 1) * length - room)
                entry = Entry(tag, kind, values, position)
            entries.setdefault(tag, entry)
        link = start + count * length
        (following,) = struct.unpack(self._offset, self._read(link, room))
        return Directory(entries, offset, link, following)

    def value(self, entry: Entry) -> bytes:
        """Return the bytes of a field.

        Raises:
            PictureError: if they do not lie in the file, or are too many.
        """
        if entry.size > MAX_FIELD:
            raise PictureError(f"its tag {entry.tag} is larger than {MAX_FIELD} bytes")
        self._bytes_left -= entry.size
        if self._bytes_left < 0:
            raise PictureError(f"its metadata is larger than {2 * MAX_FIELD} bytes")
        return self._read(entry.position, entry.size)

    def numbers(self, entry: Entry) -> tuple:
        """Return the values of a field; of fractions, numerators and denominators in turn.

        Raises:
            PictureError: as `value`.
        """
        code, parts = _TYPES[entry.kind]
        if entry.count > _MAX_NUMBERS:
            raise PictureError(f"damaged: its tag {entry.tag} has more than {_MAX_NUMBERS} values")
        return struct.unpack(f"{self.order}{entry.count * parts}{code}", self.value(entry))

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise PictureError("cut short: a directory or a field of the TIFF is missing")
        self._stream.seek(offset)
        return self._stream.read(length)


def numbers_field(tag: int, kind: int, values: list[int], order: str) -> Field:
    """Return a field of whole numbers; of fractions, numerators and denominators in turn."""
    code, parts = _TYPES[kind]
    return tag, kind, len(values) // parts, struct.pack(f"{order}{len(values)}{code}", *values)


def reordered(value: bytes, kind: int) -> bytes:
    """Turn the bytes of a field round, from one byte order to the other."""
    code, _ = _TYPES[kind]
    count = len(value) // struct.calcsize("<" + code)
    return struct.pack(f">{count}{code}", *struct.unpack(f"<{count}{code}", value))


def lay_out(
    fields: Iterable[Field],
    offset: int,
    order: str,
    *,
    following: int = 0,
    big: bool = False,
) -> bytes:
    """Return a directory with its values behind it, to be put at an even offset of a file.

    Args:
        fields: The fields, in any order.
        offset: Offset in the file at which the directory will stand.
        order: `"<"` or `">"`.
        following: The offset of the next directory.
        big: Whether the file is a BigTIFF.
    """
    fields = sorted(fields, key=lambda field: field[0])
    count_code, entry_code, room = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    offset_code = order + ("Q" if big else "I")
    entry_length = struct.calcsize("<" + entry_code) + room
    head = struct.calcsize("<" + count_code)
    end = offset + head + len(fields) * entry_length + room
    entries, values = bytearray(struct.pack(order + count_code, len(fields))), bytearray()
    for tag, kind, count, value in fields:
        entries += struct.pack(order + entry_code, tag, kind, count)
        if isinstance(value, int):
            entries += struct.pack(offset_code, value)
        elif len(value) <= room:
            entries += value.ljust(room, b"\0")
        else:
            entries += struct.pack(offset_code, end + len(values))
            values += value + bytes(len(value) % 2)
    return bytes(entries) + struct.pack(offset_code, following) + bytes(values)
