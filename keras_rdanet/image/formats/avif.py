"""AVIF of 8 bits, through Pillow; it is not written."""

import struct
from typing import BinaryIO

from PIL import AvifImagePlugin, features

from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import MAX_FIELD, Format, PictureError, Source

_MAX_BOXES, _MAX_SIZE = 1000, 1 << 29
_HIGH, _TWELVE = 0x40, 0x20


def open_avif(stream: BinaryIO) -> Source:
    """Read the header of an AVIF; it is always RGB.

    Raises:
        PictureError: if it is cut short, of more than 8 bits, or Pillow was built without AVIF.
    """
    _check_depth(read_header(stream))
    if not features.check("avif"):
        raise PictureError("this Pillow was built without AVIF; install another one")
    image = pillow.opened(AvifImagePlugin.AvifImageFile, stream)
    animated = getattr(image, "is_animated", False)
    return pillow.source(image, remark="an animation; its first frame is read" * animated)


def read_header(stream: BinaryIO) -> bytes:
    """Return the box of an AVIF or HEIC that describes its pictures.

    Raises:
        PictureError: if a box ends behind the file, or the box is missing.
    """
    size = stream.seek(0, 2)
    if size > _MAX_SIZE:  # it is read as a whole
        raise PictureError(f"files of more than {_MAX_SIZE} bytes are not supported")
    position, found = 0, b""
    for _ in range(_MAX_BOXES):
        if position == size:
            break
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8).ljust(8, b"\0"))
        if length == 1:
            (length,) = struct.unpack(">Q", stream.read(8).ljust(8, b"\0"))
        elif length == 0:
            length = size - position
        if length < 8 or position + length > size:
            raise PictureError("cut short: the end of the file is missing")
        if kind in (b"meta", b"moov"):
            if length > MAX_FIELD:
                raise PictureError(f"its metadata is larger than {MAX_FIELD} bytes")
            found += stream.read(length - 8)
        position += length
    if not found:
        raise PictureError("damaged: its header is missing")
    return found


def _check_depth(header: bytes) -> None:
    for part in header.split(b"av1C")[1:]:
        flags = part[2] if len(part) > 2 else 0
        if flags & _HIGH:
            bits = 12 if flags & _TWELVE else 10
            raise PictureError(
                f"an AVIF of {bits} bits is not supported; convert it to a PNG or TIFF of 16 "
                "bits first"
            )


FORMAT = Format(
    "AVIF",
    (".avif",),
    matches=lambda start: start[4:8] == b"ftyp" and b"avi" in start[8:],
    open=open_avif,
)
