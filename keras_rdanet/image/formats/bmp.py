"""BMP, through Pillow."""

import struct
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import BmpImagePlugin

from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import MAX_FIELD, Format, Metadata, PictureError, Source, unkept

_FILE_HEADER = 14
_V5 = 124
_UNPACKED = (0, 3, 6)  # without run lengths
_EMBEDDED = b"DEBM"


def open_bmp(stream: BinaryIO) -> Source:
    """Read the header of a BMP.

    Raises:
        PictureError: if the header is damaged, or the file is shorter than its pixels.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    start = stream.read(_FILE_HEADER + _V5)
    offset, header_size = struct.unpack_from("<II", start, 10)
    if header_size >= 40:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", start, 18)
        row = (abs(width) * bits + 31) // 32 * 4
        if compression in _UNPACKED and offset + row * abs(height) > size:
            raise PictureError("cut short: it holds too little data for its pixels")
    image = pillow.opened(BmpImagePlugin.BmpImageFile, stream)
    dpi = image.info.get("dpi")
    metadata = Metadata(
        dpi=dpi if dpi and all(value > 0 for value in dpi) else None,
        icc=_profile(stream, start) if header_size == _V5 else None,
    )
    return replace(pillow.source(image), metadata=lambda: metadata)


def write_bmp(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a BMP; it holds no metadata but the resolution."""
    del quality
    options = {"dpi": metadata.dpi} if metadata.dpi else {}
    pillow.to_image(pixels).save(stream, "BMP", **options)
    return unkept(metadata, FORMAT.name, "dpi")


def _profile(stream: BinaryIO, start: bytes) -> bytes | None:
    if start[_FILE_HEADER + 56 : _FILE_HEADER + 60] != _EMBEDDED:
        return None
    offset, length = struct.unpack_from("<II", start, _FILE_HEADER + 112)
    stream.seek(_FILE_HEADER + offset)
    return stream.read(min(length, MAX_FIELD)) or None


FORMAT = Format(
    "BMP",
    (".bmp",),
    matches=lambda start: start.startswith(b"BM"),
    open=open_bmp,
    write=write_bmp,
    depths=("uint8",),
    max_side=2**31 - 1,
)
