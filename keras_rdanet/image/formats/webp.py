"""WebP: its chunks, and its pixels through OpenCV."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np

from keras_rdanet.image import metadata as exif
from keras_rdanet.image.picture import Metadata, PictureError, PictureHeader, Source

_ANIMATED, _ALPHA = 0x02, 0x10
_MAX_METADATA = 1 << 26


def open_webp(stream: BinaryIO) -> Source:
    """Read the chunks of a WebP, but not its pixels.

    Pillow reads the whole file for that and reserves memory for the picture.

    Raises:
        PictureError: if it is animated or cut short.
    """
    chunks = dict(_chunks(stream))
    width, height, has_alpha = _size(chunks)
    header = PictureHeader(height, width, 3, np.dtype(np.uint8), has_alpha)
    block = exif.with_prefix(chunks.get(b"EXIF"))
    return Source(
        header,
        exif.orientation(block),
        pixels=lambda: _decode(stream, header),
        metadata=lambda: Metadata(exif=block, icc=chunks.get(b"ICCP"), xmp=chunks.get(b"XMP ")),
    )


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each chunk, of pixels only the start."""
    size = stream.seek(0, 2)
    stream.seek(4)
    end = 8 + struct.unpack("<I", stream.read(4))[0]
    if end > size:
        raise PictureError("cut short: the end of the WebP is missing")
    position = 12
    while position + 8 <= end:
        stream.seek(position)
        kind, length = struct.unpack("<4sI", stream.read(8))
        metadata = kind in (b"EXIF", b"ICCP", b"XMP ")
        yield kind, stream.read(min(length, _MAX_METADATA if metadata else 16))
        position += 8 + length + length % 2


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Return width, height and whether there is alpha, as libwebp sees it."""
    flags = chunks.get(b"VP8X", b"\0")[0]
    if flags & _ANIMATED:
        raise PictureError("an animation; save the frame you want as a picture of its own")
    if b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
    return width & 0x3FFF, height & 0x3FFF, bool(flags & _ALPHA) or b"ALPH" in chunks


def _decode(stream: BinaryIO, header: PictureHeader) -> np.ndarray:
    stream.seek(0)
    pixels = cv2.imdecode(np.fromfile(stream, np.uint8), cv2.IMREAD_UNCHANGED)
    channels = header.channels + header.has_alpha
    if pixels is None or pixels.shape != (header.height, header.width, channels):
        raise PictureError("its pixels are damaged or cut short")
    swap = cv2.COLOR_BGRA2RGBA if header.has_alpha else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, swap, dst=pixels)
