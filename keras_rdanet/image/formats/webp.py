"""WebP: its chunks, and its pixels through OpenCV; Pillow writes it."""

import itertools
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from keras_rdanet.image.exif import orientation, resolution, with_prefix
from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import (
    MAX_FIELD,
    Extra,
    Format,
    Metadata,
    PictureError,
    PictureHeader,
    Source,
    unkept,
)

_ANIMATED, _ALPHA = 0x02, 0x10
_METADATA = (b"EXIF", b"ICCP", b"XMP ")
_STRUCTURE = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
_MAX_CHUNKS = 1000
_SPARE = 1 << 20


def open_webp(stream: BinaryIO) -> Source:
    """Read the chunks of a WebP, but not its pixels.

    Pillow reads the whole file for that and reserves memory for the picture.

    Raises:
        PictureError: if it is animated, cut short, or its chunks are damaged.
    """
    file = _read_chunks(stream)
    width, height, has_alpha = _size(file.chunks)
    header = PictureHeader(height, width, 3, np.dtype(np.uint8), has_alpha)
    block = with_prefix(file.chunks.get(b"EXIF"))
    metadata = Metadata(
        exif=block,
        icc=file.chunks.get(b"ICCP"),
        xmp=file.chunks.get(b"XMP "),
        extras=tuple(file.extras),
    )
    return Source(
        header,
        orientation(block),
        pixels=lambda: _decode(stream, header, file.end),
        metadata=lambda: metadata,
    )


def write_webp(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a lossless WebP; gray becomes three equal channels, which no gray profile fits."""
    del quality
    icc = metadata.icc
    misfit = icc is not None and icc[16:20] == b"GRAY"
    entries = {
        "exif": metadata.exif,
        "icc_profile": None if misfit else icc,
        "xmp": metadata.xmp,
    }
    options = {name: value for name, value in entries.items() if value}
    image = pillow.to_image(pillow.three_channels(pixels))
    image.save(stream, "WEBP", lossless=True, exact=True, **options)
    stated = resolution(metadata.exif)  # there is no other place for it
    in_exif = stated and metadata.dpi and np.allclose(stated, metadata.dpi, rtol=1e-3)
    kept = ("exif", "icc", "xmp", "dpi") if in_exif else ("exif", "icc", "xmp")
    dropped = ["ICC profile of gray"] if misfit else []
    return dropped + unkept(metadata, FORMAT.name, *kept)


@dataclass
class _Chunks:
    """The chunks of a file; of chunks with pixels, only the start."""

    end: int
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    extras: list[Extra] = field(default_factory=list)


def _read_chunks(stream: BinaryIO) -> _Chunks:
    size = stream.seek(0, 2)
    stream.seek(4)
    file = _Chunks(end=8 + struct.unpack("<I", stream.read(4))[0])
    if file.end > size:
        raise PictureError("cut short: the end of the WebP is missing")
    position, total = 12, 0
    for number in itertools.count():
        if position + 8 > file.end:
            break
        if number == _MAX_CHUNKS:
            raise PictureError(f"damaged: it has more than {_MAX_CHUNKS} chunks")
        stream.seek(position)
        kind, length = struct.unpack("<4sI", stream.read(8))
        position += 8 + length + length % 2
        if position > file.end + 1:  # the last padding byte may be missing
            raise PictureError("damaged or cut short: a chunk of the WebP ends behind it")
        if kind in _METADATA:
            total += length
            if total > MAX_FIELD:
                raise PictureError(f"its metadata is larger than {MAX_FIELD} bytes")
        elif kind not in _STRUCTURE and kind not in (b"ANIM", b"ANMF"):
            name = "".join(c for c in kind.decode("latin-1") if c.isprintable())
            file.extras.append(Extra(f"chunk {name}"))
        file.chunks.setdefault(kind, stream.read(length if kind in _METADATA else min(length, 16)))
    if size > file.end + 1:
        file.extras.append(Extra("the data behind the picture"))
    return file


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Return width, height and whether there is alpha, as libwebp sees it."""
    extended = chunks.get(b"VP8X", b"\0")
    flags = extended[0]
    if flags & _ANIMATED:
        raise PictureError("an animation; save the frame you want as a picture of its own")
    if b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        has_alpha = bool(bits >> 28 & 1)
    elif b"VP8 " in chunks:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", chunks[b"VP8 "], 6))
        has_alpha = bool(flags & _ALPHA) or b"ALPH" in chunks
    else:
        raise PictureError("damaged: there is no picture in the WebP")
    if len(extended) >= 10:
        canvas = [1 + int.from_bytes(extended[i : i + 3], "little") for i in (4, 7)]
        if canvas != [width, height]:
            raise PictureError("damaged: the WebP states two sizes")
    return width, height, has_alpha


def _decode(stream: BinaryIO, header: PictureHeader, length: int) -> np.ndarray:
    channels = header.channels + header.has_alpha
    if length > 16 * (header.height * header.width * channels + _SPARE) + MAX_FIELD:
        raise PictureError("damaged: it holds more data than its pixels can take")
    stream.seek(0)
    data = np.frombuffer(stream.read(length), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != (header.height, header.width, channels):
        raise PictureError("its pixels are damaged or cut short")
    swap = cv2.COLOR_BGRA2RGBA if header.has_alpha else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, swap, dst=pixels)


FORMAT = Format(
    "WebP",
    (".webp",),
    matches=lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP",
    open=open_webp,
    write=write_webp,
    depths=("uint8",),
    alpha=True,
    max_side=16_383,
)
