"""The edits that EXIF and XMP need when a picture has been turned upright or enlarged.

EXIF is edited in place: writing it anew would move maker notes, which hold
offsets from the start of the block.
"""

import re
import struct

PREFIX = b"Exif\0\0"
_ORIENTATION, _THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0112, 0x0201, 0x0202
_EXIF_DIRECTORY, _EXIF_WIDTH, _EXIF_HEIGHT, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003, 256, 257
_VALUE_FORMATS = {1: "B", 3: "H", 4: "I"}


def with_prefix(exif: bytes | None) -> bytes | None:
    """Return EXIF in the one form kept here, whether or not the container stores the prefix."""
    if not exif or exif.startswith(PREFIX):
        return exif or None
    return PREFIX + exif


def orientation(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 where EXIF is missing, damaged or silent."""
    return (stated_orientation(exif) or 1) if exif else 1


def stated_orientation(exif: bytes) -> int | None:
    """Return the orientation that EXIF states, `None` when it states none that is valid."""
    try:
        order, tags, _ = _directory(exif, first=True)
        position, kind = tags[_ORIENTATION]
        (value,) = struct.unpack_from(order + _VALUE_FORMATS[kind], exif, position)
    except (KeyError, struct.error):
        return None
    return value if 1 <= value <= 8 else None


def upright(exif: bytes) -> bytes:
    """Set the orientation to 1 and drop the thumbnail, which shows the unrestored picture."""
    edited = bytearray(exif)
    try:
        order, tags, link = _directory(exif, first=True)
        if _ORIENTATION in tags:
            position, kind = tags[_ORIENTATION]
            struct.pack_into(order + _VALUE_FORMATS[kind], edited, position, 1)
        _drop_thumbnail(edited, order, link)
    except (KeyError, struct.error):
        pass  # damaged EXIF is nobody's to repair; readers ignore it
    return bytes(edited)


def resized(exif: bytes | None, height: int, width: int) -> bytes | None:
    """Set the size in pixels wherever EXIF states it."""
    if exif is None:
        return None
    edited = bytearray(exif)
    try:
        order, tags, _ = _directory(exif, first=True)
        _set_size(edited, order, tags, {_WIDTH: width, _HEIGHT: height})
        order, tags, _ = _directory(exif, link=tags[_EXIF_DIRECTORY][0])
        _set_size(edited, order, tags, {_EXIF_WIDTH: width, _EXIF_HEIGHT: height})
    except (KeyError, struct.error):
        pass  # it states none, or is damaged
    return bytes(edited)


def upright_xmp(xmp: bytes) -> bytes:
    """Set `tiff:Orientation`, which some programs believe before EXIF, to 1."""
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)


def _set_size(exif, order, tags, sizes):
    for tag, value in sizes.items():
        if tag in tags:
            position, kind = tags[tag]
            struct.pack_into(order + _VALUE_FORMATS[kind], exif, position, value)


def _drop_thumbnail(exif: bytearray, order: str, link: int) -> None:
    thumbnail = bytes(exif)
    struct.pack_into(order + "I", exif, link, 0)
    try:
        _, tags, _ = _directory(thumbnail, link=link)
        (start,) = struct.unpack_from(order + "I", thumbnail, tags[_THUMBNAIL_OFFSET][0])
        (length,) = struct.unpack_from(order + "I", thumbnail, tags[_THUMBNAIL_LENGTH][0])
    except (KeyError, struct.error):
        return
    start += len(PREFIX)
    if start + length >= len(exif):  # it is usually last, and then its bytes go as well
        del exif[start:]
    else:
        exif[start : start + length] = bytes(length)


def _directory(
    exif: bytes, *, first: bool = False, link: int = 0
) -> tuple[str, dict[int, tuple[int, int]], int]:
    """Return byte order, `{tag: (position of its value, type)}` and where the next link stands."""
    base = len(PREFIX)
    order = {b"II": "<", b"MM": ">"}[exif[base : base + 2]]
    (start,) = struct.unpack_from(order + "I", exif, base + 4 if first else link)
    if not start:
        raise KeyError("no such directory")
    (count,) = struct.unpack_from(order + "H", exif, base + start)
    entries = base + start + 2
    tags = {}
    for entry in range(entries, entries + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        tags[tag] = (entry + 8, kind)
    return order, tags, entries + 12 * count
