"""PNG: its chunks, and the 16-bit pictures that Pillow would cut to 8."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import PngImagePlugin

from keras_rdanet.image import metadata as exif
from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import Metadata, PictureError, PictureHeader, Source

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _GRAY_ALPHA, _RGB, _RGB_ALPHA = 0, 4, 2, 6
_COLOR_TYPES = {1: _GRAY, 2: _GRAY_ALPHA, 3: _RGB, 4: _RGB_ALPHA}
_COLOR_CHUNKS = (b"cHRM", b"cICP", b"gAMA", b"sRGB")
_XMP = b"XML:com.adobe.xmp\0"
_MAX_ICC = 1 << 26
_METERS_PER_INCH = 0.0254
_FILTER_SUB = 1
_ROWS = 64


def open_png(stream: BinaryIO) -> Source:
    """Read the chunks of a PNG, but not its pixels.

    Raises:
        PictureError: if it is animated, cut short or zero-sized.
    """
    chunks = dict(_chunks(stream))
    width, height, depth, color = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    if not width or not height:
        raise PictureError(f"zero-sized ({width} x {height} pixels)")
    if b"acTL" in chunks and struct.unpack_from(">I", chunks[b"acTL"]) != (1,):
        raise PictureError("an animation; save the frame you want as a picture of its own")
    block = exif.with_prefix(chunks.get(b"eXIf"))
    if depth == 16:
        header = PictureHeader(
            height,
            width,
            channels=1 if color in (_GRAY, _GRAY_ALPHA) else 3,
            dtype=np.dtype(np.uint16),
            has_alpha=color in (_GRAY_ALPHA, _RGB_ALPHA) or b"tRNS" in chunks,
        )
        transparent = chunks.get(b"tRNS") if color == _GRAY else None
        return Source(
            header,
            exif.orientation(block),
            pixels=lambda: _decode_16(stream, header, transparent),
            metadata=lambda: _metadata(chunks),
        )
    return Source(
        pillow.source(_reopen(stream)).header,
        exif.orientation(block),
        pixels=lambda: _decode_8(stream),
        metadata=lambda: _metadata(chunks),
    )


def write_png(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a PNG of 8 or 16 bits."""
    del quality
    if pixels.dtype == np.uint16:
        _encode_16(stream, pixels, metadata)
    else:
        _encode_8(stream, pixels, metadata)
    return []


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of every chunk; of IDAT the name alone, of iTXt only XMP."""
    size = stream.seek(0, 2)
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        stream.seek(position)
        start = stream.read(8)
        length = int.from_bytes(start[:4], "big")
        kind = start[4:]
        position += 8 + length + 4
        if len(start) < 8 or position > size:
            raise PictureError("cut short: the end of the PNG is missing")
        content = stream.read(length) if kind != b"IDAT" else b""
        if kind != b"iTXt" or content.startswith(_XMP):
            yield kind, content


def _metadata(chunks: dict[bytes, bytes]) -> Metadata:
    dpi = None
    if b"pHYs" in chunks:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        dpi = (x * _METERS_PER_INCH, y * _METERS_PER_INCH) if unit == 1 and x and y else None
    return Metadata(
        exif=exif.with_prefix(chunks.get(b"eXIf")),
        icc=_icc(chunks[b"iCCP"]) if b"iCCP" in chunks else None,
        xmp=_xmp(chunks[b"iTXt"]) if b"iTXt" in chunks else None,
        dpi=dpi,
        png_color=tuple((kind, chunks[kind]) for kind in _COLOR_CHUNKS if kind in chunks),
    )


def _icc(content: bytes) -> bytes:
    _, _, compressed = content.partition(b"\0")
    return zlib.decompressobj().decompress(compressed[1:], _MAX_ICC)


def _xmp(content: bytes) -> bytes:
    compressed = content[len(_XMP)]
    text = content[len(_XMP) + 2 :].split(b"\0", 2)[2]
    return zlib.decompressobj().decompress(text, _MAX_ICC) if compressed else text


def _reopen(stream: BinaryIO) -> PngImagePlugin.PngImageFile:
    stream.seek(0)
    return PngImagePlugin.PngImageFile(stream)


def _decode_8(stream: BinaryIO) -> np.ndarray:
    _reopen(stream).verify()  # the checksums, which decoding leaves out
    return pillow.source(_reopen(stream)).pixels()


def _decode_16(stream: BinaryIO, header: PictureHeader, transparent: bytes | None) -> np.ndarray:
    _reopen(stream).verify()
    pixels = cv2.imdecode(_essence(stream), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise PictureError("its pixels are damaged")
    pixels = pixels.reshape(header.height, header.width, -1)
    if header.channels == 3:
        swap = cv2.COLOR_BGRA2RGBA if header.has_alpha else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(pixels, swap, dst=pixels)
    if transparent:  # OpenCV leaves the transparent gray out
        alpha = np.where(pixels == struct.unpack(">H", transparent)[0], 0, 65535)
        return np.concatenate([pixels, alpha.astype(np.uint16)], axis=-1)
    # OpenCV has no gray with alpha: it repeats the gray.
    return np.ascontiguousarray(pixels[..., [0, 3]]) if header.has_alpha else pixels


def _essence(stream: BinaryIO) -> np.ndarray:
    """Return a PNG without its ancillary chunks, about which libpng prints warnings."""
    stream.seek(len(SIGNATURE))
    essence, kind = bytearray(SIGNATURE), b""
    while kind != b"IEND":
        start = stream.read(8)
        length, kind = struct.unpack(">I4s", start)
        if kind in (b"IHDR", b"IDAT", b"IEND", b"tRNS"):
            essence += start + stream.read(length + 4)
        else:
            stream.seek(length + 4, 1)
    return np.frombuffer(essence, np.uint8)


def _encode_8(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata) -> None:
    extra = PngImagePlugin.PngInfo()
    for kind, content in metadata.png_color:
        extra.add(kind, content)
    if metadata.xmp:
        extra.add(b"iTXt", _XMP + bytes(4) + metadata.xmp)
    options: dict[str, Any] = {"pnginfo": extra}
    if metadata.exif:
        options["exif"] = metadata.exif
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    pillow.to_image(pixels).save(stream, "PNG", **options)


def _encode_16(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata) -> None:
    # Pillow writes 16 bits for gray only, OpenCV neither gray with alpha nor metadata.
    height, width, channels = pixels.shape
    stream.write(SIGNATURE)
    _write_chunk(
        stream,
        b"IHDR",
        struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[channels], 0, 0, 0),
    )
    for kind, content in metadata.png_color:
        _write_chunk(stream, kind, content)
    if metadata.icc:
        _write_chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc))
    if metadata.dpi:
        x, y = (round(value / _METERS_PER_INCH) for value in metadata.dpi)
        _write_chunk(stream, b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        _write_chunk(stream, b"eXIf", metadata.exif.removeprefix(exif.PREFIX))
    if metadata.xmp:
        _write_chunk(stream, b"iTXt", _XMP + bytes(4) + metadata.xmp)
    compressor = zlib.compressobj()
    for top in range(0, height, _ROWS):
        rows = (
            pixels[top : top + _ROWS].astype(">u2").view(np.uint8).reshape(-1, width, 2 * channels)
        )
        filtered = np.empty((len(rows), 1 + 2 * channels * width), np.uint8)
        filtered[:, 0] = _FILTER_SUB
        filtered[:, 1:] = np.diff(rows, axis=1, prepend=np.uint8(0)).reshape(len(rows), -1)
        _write_chunk(stream, b"IDAT", compressor.compress(filtered.data))
    _write_chunk(stream, b"IDAT", compressor.flush())
    _write_chunk(stream, b"IEND", b"")


def _write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind + content)
    stream.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
