"""EXIF as it stands in a JPEG: reading it, editing it, collecting it from a TIFF."""

import io
import struct
from collections.abc import Container, Iterable

from keras_rdanet.image.directories import (
    CLASSIC_KINDS,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROPERABILITY_DIRECTORY,
    LONG,
    RATIONAL,
    SHORT,
    Directories,
    Directory,
    Entry,
    Field,
    lay_out,
    numbers_field,
)
from keras_rdanet.image.picture import PictureError

PREFIX = b"Exif\0\0"
CENTIMETERS_PER_INCH = 2.54
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
_UNITS = {2: 1.0, 3: CENTIMETERS_PER_INCH}  # of a resolution -> per inch
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_WRITTEN = {1: "B", SHORT: "H", LONG: "I"}
_MAKER_NOTE = 0x927C
# Maker notes whose offsets do not count from the start of the file.
_MOVABLE_NOTES = (b"Nikon\0\2", b"FUJIFILM", b"Apple iOS\0", b"OLYMPUS\0", b"OM SYSTEM\0")
_MAX_NOTE_OFFSET = 65_000


def with_prefix(exif: bytes | None) -> bytes | None:
    """Return EXIF in the one form kept here, whether or not the format stores the prefix."""
    if not exif or exif.startswith(PREFIX):
        return exif or None
    return PREFIX + exif


def orientation(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 where EXIF is missing, damaged or has none."""
    found = Editor(exif or b"")
    value = found.number(found.main, ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def resolution(exif: bytes | None) -> tuple[float, float] | None:
    """Return the resolution that EXIF states, in pixels per inch."""
    found = Editor(exif or b"")
    unit = _UNITS.get(found.number(found.main, RESOLUTION_UNIT) or 2)
    x, y = (found.fraction(found.main, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    return (x * unit, y * unit) if x and y and unit else None


def collect(
    file: Directories, main: Iterable[Field], pointers: dict[int, Entry]
) -> tuple[bytes | None, list[str]]:
    """Collect EXIF from the directories of a TIFF.

    Args:
        file: The TIFF.
        main: The fields of the first directory.
        pointers: Fields that point to the directories of EXIF and GPS, by their tag.

    Returns:
        The block, `None` if there is nothing to put in it, and the names of what was lost.
    """
    lost: list[str] = []
    block = bytearray(struct.pack(file.order + "2sHI", file.mark, 42, 0))
    fields = list(main)
    for pointer, name in ((EXIF_DIRECTORY, "EXIF"), (GPS_DIRECTORY, "GPS")):
        if pointer not in pointers:
            continue
        try:
            (offset,) = file.numbers(pointers[pointer])
            fields.append(_append_directory(block, file, pointer, offset, lost))
        except (PictureError, ValueError):
            lost.append(f"{name} (damaged)")
    if not fields:
        return None, lost
    block += bytes(len(block) % 2)
    struct.pack_into(file.order + "I", block, 4, len(block))
    return PREFIX + bytes(block) + lay_out(fields, len(block), file.order), lost


def _append_directory(
    block: bytearray, file: Directories, pointer: int, offset: int, lost: list[str]
) -> Field:
    """Append a directory to EXIF; return the field that points to it."""
    fields: list[Field] = []
    for tag, entry in file.directory(offset).entries.items():
        if entry.kind not in CLASSIC_KINDS:
            continue
        if tag == INTEROPERABILITY_DIRECTORY and pointer == EXIF_DIRECTORY:
            (inner,) = file.numbers(entry)
            fields.append(_append_directory(block, file, tag, inner, lost))
            continue
        value = file.value(entry)
        if tag != _MAKER_NOTE or entry.size <= 4 or value.startswith(_MOVABLE_NOTES):
            fields.append((tag, entry.kind, entry.count, value))
        elif len(block) <= entry.position <= _MAX_NOTE_OFFSET:
            # Its offsets count from the start of the file, so it must keep its place.
            block += bytes(entry.position - len(block)) + value
            fields.append((tag, entry.kind, entry.count, entry.position))
        else:
            lost.append("EXIF MakerNote")
    block += bytes(len(block) % 2)
    start = len(block)
    block += lay_out(fields, start, file.order)
    return numbers_field(pointer, LONG, [start], file.order)


class Editor:
    """EXIF that is edited in place.

    Writing it anew would move maker notes, which hold offsets from the start of the
    block. What is damaged is left as it is, for readers ignore it.

    Args:
        exif: The block, with its prefix.
    """

    def __init__(self, exif: bytes):
        self._prefix, self._block = exif[: len(PREFIX)], bytearray(exif[len(PREFIX) :])
        self._file: Directories | None = None
        self._order = "<"
        self.main = self.details = Directory({}, 0, 0, 0)
        try:
            self._file = Directories(io.BytesIO(self._block))
            self._order = self._file.order
            self.main = self._file.directory(self._file.first)
            if EXIF_DIRECTORY in self.main.entries:
                offset = self._file.numbers(self.main.entries[EXIF_DIRECTORY])[0]
                self.details = self._file.directory(offset)
        except (ValueError, struct.error, IndexError):
            pass

    @property
    def exif(self) -> bytes:
        """The block, with its prefix."""
        return self._prefix + bytes(self._block)

    def number(self, directory: Directory, tag: int) -> int | None:
        """Return a whole number, `None` if it is missing or damaged."""
        found = self._place(directory, tag, _WRITTEN)
        if found is None:
            return None
        kind, position = found
        return struct.unpack_from(self._order + _WRITTEN[kind], self._block, position)[0]

    def fraction(self, directory: Directory, tag: int) -> float | None:
        """Return a fraction, `None` if it is missing, damaged or 0."""
        found = self._place(directory, tag, (RATIONAL,))
        if found is None:
            return None
        above, below = struct.unpack_from(self._order + "II", self._block, found[1])
        return above / below if above and below else None

    def set_number(self, directory: Directory, tag: int, value: int) -> None:
        """Change a whole number if it is there."""
        if found := self._place(directory, tag, _WRITTEN):
            kind, position = found
            limit = 256 ** struct.calcsize(_WRITTEN[kind]) - 1
            code = self._order + _WRITTEN[kind]
            struct.pack_into(code, self._block, position, min(value, limit))

    def reshape_fractions(
        self, directory: Directory, x: int, y: int, swapped: bool, scale: int
    ) -> None:
        """Swap a pair of resolutions and multiply them."""
        places = [self._place(directory, tag, (RATIONAL,)) for tag in (x, y)]
        if None in places:
            return
        positions = [place[1] for place in places if place]
        pairs = [struct.unpack_from(self._order + "II", self._block, p) for p in positions]
        for position, (above, below) in zip(
            positions, reversed(pairs) if swapped else pairs, strict=True
        ):
            above = min(above * scale, 2**32 - 1)
            struct.pack_into(self._order + "II", self._block, position, above, below)

    def remove(self, tags: Container[int]) -> list[int]:
        """Take fields out of the EXIF directory, as the last edit; return which were there."""
        start, end = self.details.start, self.details.link
        rows = [bytes(self._block[row : row + 12]) for row in range(start + 2, end, 12)]
        found = [struct.unpack(self._order + "H", row[:2])[0] for row in rows]
        removed = [tag for tag in found if tag in tags]
        if removed:
            kept = [row for row, tag in zip(rows, found, strict=True) if tag not in tags]
            count = struct.pack(self._order + "H", len(kept))
            link = bytes(self._block[end : end + 4])
            table = count + b"".join(kept) + link
            self._block[start : end + 4] = table.ljust(end + 4 - start, b"\0")
        return removed

    def drop_thumbnail(self) -> None:
        """Unlink the directory of the thumbnail, and wipe the thumbnail."""
        if self._file is None or not self.main.next:
            return
        struct.pack_into(self._order + "I", self._block, self.main.link, 0)
        try:
            thumbnail = self._file.directory(self.main.next)
            start, length = (
                self._file.numbers(thumbnail.entries[tag])[0]
                for tag in (_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH)
            )
        except (KeyError, ValueError, IndexError):
            return
        if start + length >= len(self._block):  # it is usually last, and then its bytes go as well
            del self._block[start:]
        else:
            self._block[start : start + length] = bytes(length)

    def _place(
        self, directory: Directory, tag: int, kinds: Container[int]
    ) -> tuple[int, int] | None:
        """Return type and position of a field of one of these types, with room for its value."""
        entry = directory.entries.get(tag)
        if entry is None or entry.kind not in kinds or not entry.count:
            return None
        return (entry.kind, entry.position) if entry.position + 8 <= len(self._block) else None
