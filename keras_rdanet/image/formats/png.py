"""PNG: its chunks and its pixels of 1 to 16 bits. OpenCV's libpng undoes the filters of rows."""

import io
import itertools
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from keras_rdanet.image.exif import PREFIX, orientation, with_prefix
from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import (
    FIELDS,
    MAX_FIELD,
    Extra,
    Format,
    Metadata,
    PictureError,
    PictureHeader,
    Source,
    inflate,
    unkept,
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_COLOR_TYPES = {1: _GRAY, 2: _GRAY_ALPHA, 3: _RGB, 4: _RGB_ALPHA}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
# Bytes that a filter reaches back -> colour type and depth of a PNG with such pixels.
_FILTERED = {
    1: (_GRAY, 8),
    2: (_GRAY, 16),
    3: (_RGB, 8),
    4: (_RGB_ALPHA, 8),
    6: (_RGB, 16),
    8: (_RGB_ALPHA, 16),
}
_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
# First column, first row and their steps.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
# Chunks that say how pixels are stored, which is not how they are written again.
_STRUCTURE = (b"IHDR", b"PLTE", b"tRNS", b"IEND", b"acTL", b"fcTL", b"fdAT", b"iDOT")
_COLORS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
_PLACES = (b"oFFs", b"pCAL", b"sCAL", b"sTER")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"
# ImageMagick's: metadata in hexadecimal digits.
_PROFILE = re.compile(rb"Raw profile type (exif|APP1|xmp|icc|icm)\0")
_METERS_PER_INCH = 0.0254
_MAX_WIDTH = 1 << 20  # of OpenCV
_MAX_CHUNKS, _BYTES_PER_CHUNK = 100_000, 4096
_MAX_RATIO = 1032  # of deflate
_BAND = 1 << 20
_PADDING = 1 << 12
_FILTER_SUB = 1
_ROWS = 64


def open_png(stream: BinaryIO) -> Source:
    """Read the chunks of a PNG, but not its pixels.

    Raises:
        PictureError: if it is animated, cut short, zero-sized, or its chunks are damaged.
    """
    chunks = _read_chunks(stream)
    width, height, depth, color, *methods = struct.unpack(">IIBBBBB", chunks.first(b"IHDR"))
    if not width or not height:
        raise PictureError(f"zero-sized ({width} x {height} pixels)")
    if depth not in _DEPTHS.get(color, ()) or methods[:2] != [0, 0] or methods[2] > 1:
        raise PictureError("its header is damaged")
    if (frames := chunks.first(b"acTL")) and struct.unpack_from(">I", frames) != (1,):
        raise PictureError("an animation; save the frame you want as a picture of its own")
    if color == _PALETTE and not chunks.first(b"PLTE"):
        raise PictureError("damaged: its palette is missing")
    has_key = b"tRNS" in chunks.found and color in (_GRAY, _RGB, _PALETTE)
    image = _Image(chunks, width, height, depth, color, _ADAM7 if methods[2] else _WHOLE, has_key)
    metadata = _metadata(chunks)
    return Source(
        image.header,
        orientation(metadata.exif),
        pixels=lambda: _decode(stream, image),
        metadata=lambda: metadata,
    )


def write_png(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a PNG of 8 or 16 bits; return what metadata could not be kept."""
    del quality
    height, width, channels = pixels.shape
    ancillary, dropped = _ancillary(metadata)
    bits = 8 * pixels.itemsize
    stream.write(_SIGNATURE)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOR_TYPES[channels], 0, 0, 0)
    for kind, content in [(b"IHDR", header), *ancillary]:
        _write_chunk(stream, kind, content)
    for content in _encode_8(pixels) if bits == 8 else _encode_16(pixels):
        _write_chunk(stream, b"IDAT", content)
    _write_chunk(stream, b"IEND", b"")
    return dropped + unkept(metadata, FORMAT.name, "exif", "icc", "xmp", "dpi", "density")


@dataclass
class _Chunks:
    """The content of the chunks of a file, and the places of the chunks with pixels."""

    found: dict[bytes, list[bytes]] = field(default_factory=dict)
    data: list[tuple[int, int]] = field(default_factory=list)
    has_trailer: bool = False

    def first(self, kind: bytes) -> bytes:
        """Return the content of the first chunk of a kind, empty if there is none."""
        return self.found.get(kind, [b""])[0]


@dataclass(frozen=True)
class _Image:
    """The form in which pixels are stored."""

    chunks: _Chunks
    width: int
    height: int
    depth: int
    color: int
    passes: tuple[tuple[int, int, int, int], ...]
    has_key: bool

    @property
    def pixel_bits(self) -> int:
        return self.depth * _SAMPLES[self.color]

    @property
    def header(self) -> PictureHeader:
        """The header of the decoded picture."""
        gray = self.color in (_GRAY, _GRAY_ALPHA)
        if self.color == _PALETTE:
            colors = self.palette()
            # A profile, which is of RGB here, would not fit gray.
            gray = b"iCCP" not in self.chunks.found and bool((colors == colors[:, :1]).all())
        return PictureHeader(
            self.height,
            self.width,
            channels=1 if gray else 3,
            dtype=np.dtype(np.uint16 if self.depth == 16 else np.uint8),
            has_alpha=self.has_key or self.color in (_GRAY_ALPHA, _RGB_ALPHA),
        )

    def palette(self) -> np.ndarray:
        """Return its colours, `(n, 3)` uint8."""
        content = self.chunks.first(b"PLTE")
        if len(content) % 3 or len(content) > 3 * 256:
            raise PictureError("damaged: its palette has no whole colours")
        return np.frombuffer(content, np.uint8).reshape(-1, 3)


def _read_chunks(stream: BinaryIO) -> _Chunks:
    chunks = _Chunks()
    size = stream.seek(0, 2)
    position, kind, total = len(_SIGNATURE), b"", 0
    for number in itertools.count():
        if number > _MAX_CHUNKS + size // _BYTES_PER_CHUNK:
            raise PictureError("damaged: it is of too many chunks")
        stream.seek(position)
        start = stream.read(8)
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        position += 8 + length + 4
        if len(start) < 8 or position > size:
            raise PictureError("cut short: the end of the PNG is missing")
        if kind == b"IDAT":
            chunks.data.append((position - 4 - length, length))
            continue
        total += length
        if total > MAX_FIELD:
            raise PictureError(f"its metadata is larger than {MAX_FIELD} bytes")
        content = stream.read(length)
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(stream.read(4), "big"):
            raise PictureError(f"damaged: the checksum of {_word(kind)} is wrong")
        if not chunks.found and kind != b"IHDR":
            raise PictureError("damaged: it does not begin with its header")
        chunks.found.setdefault(kind, []).append(content)
        if kind == b"IEND":
            chunks.has_trailer = bool(stream.read(_PADDING).strip(b"\0\xff\r\n"))
            return chunks
    raise AssertionError


def _word(name: bytes) -> str:
    return "".join(c for c in name[:79].decode("latin-1") if c.isprintable())


def _metadata(chunks: _Chunks) -> Metadata:
    fields: dict[str, bytes] = {}
    extras: list[Extra] = []

    def keep(name: str, label: str, content: bytes, compressed: bool) -> None:
        if name in fields:
            extras.append(Extra(f"a second {label}"))
            return
        try:
            fields[name] = inflate(content, label) if compressed else content
        except PictureError as error:
            extras.append(Extra(f"{label} ({str(error).removeprefix(f'its {label} ')})"))

    for content in chunks.found.get(b"eXIf", []):
        keep("exif", "EXIF", content, False)
    for content in chunks.found.get(b"iCCP", []):
        keep("icc", "ICC profile", content.partition(b"\0")[2][1:], True)
    for kind, contents in chunks.found.items():
        for content in contents:
            if kind == b"iTXt" and content.startswith(_XMP):
                text = content[len(_XMP) + 2 :].split(b"\0", 2)
                keep("xmp", "XMP", text[-1], content[len(_XMP) : len(_XMP) + 1] == b"\1")
            elif kind in _TEXTS and (match := _PROFILE.match(content)):
                name = {b"xmp": "xmp", b"icc": "icc", b"icm": "icc"}.get(match[1], "exif")
                try:
                    profile = _raw_profile(kind, content[match.end() :])
                except (PictureError, ValueError):
                    extras.append(Extra(f"text {_word(match[0][:-1])} (damaged)"))
                else:
                    keep(name, f"text {_word(match[0][:-1])}", profile, False)
            elif kind in _TEXTS:
                extras.append(
                    Extra(f"text {_word(content.split(bytes(1))[0])}", "PNG", kind, content)
                )
            elif kind in _COLORS or kind in _PLACES or (kind[3:].islower() and _is_unknown(kind)):
                extras.append(Extra(_word(kind), "PNG", kind, content, kind in _PLACES))
            elif _is_unknown(kind):
                extras.append(Extra(_word(kind)))
    if chunks.has_trailer:
        extras.append(Extra("the data behind the picture"))
    dpi, density = _resolution(chunks.first(b"pHYs"))
    return Metadata(
        exif=with_prefix(fields.get("exif")),
        icc=fields.get("icc"),
        xmp=fields.get("xmp"),
        dpi=dpi,
        density=density,
        extras=tuple(extras),
    )


def _is_unknown(kind: bytes) -> bool:
    return kind not in _STRUCTURE and kind not in (b"eXIf", b"iCCP", b"pHYs")


def _resolution(content: bytes) -> tuple[tuple | None, tuple | None]:
    if len(content) != 9:
        return None, None
    x, y, unit = struct.unpack(">IIB", content)
    if not x or not y:
        return None, None
    if unit == 1:
        return (x * _METERS_PER_INCH, y * _METERS_PER_INCH), None
    return None, (float(x), float(y))


def _raw_profile(kind: bytes, content: bytes) -> bytes:
    """Return the bytes of `\\nexif\\n      24\\n45786966...`."""
    if kind == b"zTXt":
        content = inflate(content[1:], "text")
    elif kind == b"iTXt":
        compressed, text = content[:1] == b"\1", content[2:].split(b"\0", 2)[-1]
        content = inflate(text, "text") if compressed else text
    _, _, length, digits = content.split(b"\n", 3)
    profile = bytes.fromhex(digits.decode("ascii"))
    if len(profile) != int(length):
        raise PictureError("its text ends early")
    return profile


def _decode(stream: BinaryIO, image: _Image) -> np.ndarray:
    if image.width > _MAX_WIDTH:
        raise PictureError(f"PNGs wider than {_MAX_WIDTH} pixels are not supported")
    header = image.header
    shape = (image.height, image.width, header.channels + header.has_alpha)
    stored = image.height * math.ceil(image.width * image.pixel_bits / 8)
    if stored > _MAX_RATIO * sum(length for _, length in image.chunks.data) + _BAND:
        raise PictureError("cut short: it holds too little data for its pixels")
    table = _table(image, header)
    data = _Data(stream, image.chunks.data)
    pixels = np.empty(shape, header.dtype)
    for left, top, across, down in image.passes:
        target = pixels[top::down, left::across]
        if target.size:
            _decode_pass(data, image, table, target)
    data.finish()
    return pixels


def _table(image: _Image, header: PictureHeader) -> np.ndarray | None:
    """Return what each index of a palette stands for; one beyond the palette is black."""
    if image.color != _PALETTE:
        return None
    colors = image.palette()
    table = np.zeros((256, header.channels + header.has_alpha), np.uint8)
    table[: len(colors), : header.channels] = colors[:, : header.channels]
    if header.has_alpha:
        alpha = np.frombuffer(image.chunks.first(b"tRNS")[:256], np.uint8)
        table[:, -1] = 255
        table[: len(alpha), -1] = alpha
    return table


def _decode_pass(
    data: "_Data", image: _Image, table: np.ndarray | None, target: np.ndarray
) -> None:
    height, width = target.shape[:2]
    row_bytes = math.ceil(width * image.pixel_bits / 8)
    previous = np.zeros(row_bytes, np.uint8)
    rows = max(1, _BAND // row_bytes)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        filtered = np.frombuffer(data.read(count * (1 + row_bytes)), np.uint8)
        flat = _unfilter(filtered.reshape(count, -1), previous, max(1, image.pixel_bits // 8))
        previous = flat[-1]
        values = _unpack(flat, width, image)
        band = target[top : top + count]
        if table is not None:
            band[...] = table[values[..., 0]]
            continue
        samples = values.shape[-1]
        white = np.iinfo(target.dtype).max
        if image.has_key:
            keys = struct.unpack(f">{samples}H", image.chunks.first(b"tRNS"))
            key = np.array(keys) & (1 << image.depth) - 1
            band[..., -1] = np.where((values == key).all(axis=-1), 0, white)
        if image.depth < 8:
            values = values * np.uint8(white // ((1 << image.depth) - 1))
        band[..., :samples] = values


def _unpack(flat: np.ndarray, width: int, image: _Image) -> np.ndarray:
    """Return `(rows, width, samples)` values out of the bytes of rows."""
    shape = (len(flat), -1, _SAMPLES[image.color])
    if image.depth == 16:
        return flat.view(">u2").reshape(shape)
    if image.depth < 8:
        shifts = np.arange(8 - image.depth, -1, -image.depth, dtype=np.uint8)
        flat = flat[..., np.newaxis] >> shifts & np.uint8((1 << image.depth) - 1)
    return flat.reshape(shape)[:, :width]


def _unfilter(rows: np.ndarray, previous: np.ndarray, reach: int) -> np.ndarray:
    """Undo the filters of rows, whose first bytes say which, given the row before them."""
    filters = rows[:, 0]
    if not filters.any():
        return np.ascontiguousarray(rows[:, 1:])
    if filters.max() > 4:
        raise PictureError("its pixels are damaged (an unknown filter)")
    color, depth = _FILTERED[reach]
    file = io.BytesIO(_SIGNATURE)
    file.seek(0, 2)
    width = (rows.shape[1] - 1) // reach
    size = struct.pack(">IIBBBBB", width, len(rows) + 1, depth, color, 0, 0, 0)
    _write_chunk(file, b"IHDR", size)
    _write_chunk(file, b"IDAT", zlib.compress(b"\0" + previous.tobytes() + rows.tobytes(), 0))
    _write_chunk(file, b"IEND", b"")
    decoded = cv2.imdecode(np.frombuffer(file.getbuffer(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.shape[:2] != (len(rows) + 1, width):
        raise PictureError("its pixels are damaged")
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, _TO_RGB[decoded.shape[-1]], dst=decoded)
    if depth == 16:
        decoded = decoded.astype(">u2")
    return decoded[1:].reshape(len(rows), -1).view(np.uint8)


class _Data:
    """The pixel data of a file, inflated as it is read."""

    def __init__(self, stream: BinaryIO, places: list[tuple[int, int]]):
        self._compressed = _checked(stream, places)
        self._inflater = zlib.decompressobj()

    def read(self, length: int) -> bytearray:
        """Return the next bytes.

        Raises:
            PictureError: if there are fewer, or they are damaged.
        """
        found = bytearray()
        while len(found) < length:
            found += self._inflate(length - len(found))
        return found

    def finish(self) -> None:
        """Check that nothing but the checksum is left.

        Raises:
            PictureError: if pixels are left, or the checksum is missing or wrong.
        """
        while not self._inflater.eof:
            if self._inflate(_BAND):
                raise PictureError("its pixels are damaged (there are more than its size says)")
        for _ in self._compressed:  # for its checksums
            pass

    def _inflate(self, limit: int) -> bytes:
        compressed = self._inflater.unconsumed_tail or next(self._compressed, b"")
        try:
            found = self._inflater.decompress(compressed, limit)
        except zlib.error as error:
            raise PictureError(f"its pixels are damaged ({error})") from error
        if not (found or compressed):
            raise PictureError("its pixels are damaged or cut short")
        return found


def _checked(stream: BinaryIO, places: list[tuple[int, int]]) -> Iterator[bytes]:
    for start, length in places:
        checksum, end = zlib.crc32(b"IDAT"), start + length
        for position in range(start, end, _BAND):
            stream.seek(position)
            part = stream.read(min(_BAND, end - position))
            checksum = zlib.crc32(part, checksum)
            yield part
        stream.seek(end)
        if checksum != int.from_bytes(stream.read(4), "big"):
            raise PictureError("its pixels are damaged (the checksum is wrong)")


def _ancillary(metadata: Metadata) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """Return the chunks that hold the metadata, and what could not be kept."""
    own = [(extra.key, extra.content) for extra in metadata.extras if extra.home == FORMAT.name]
    chunks = [(kind, content) for kind, content in own if kind not in _TEXTS]
    dropped = []
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        size = [round(value / _METERS_PER_INCH) for value in metadata.dpi]
        if all(0 < value < 2**31 for value in size):
            chunks.append((b"pHYs", struct.pack(">IIB", *size, 1)))
        else:
            dropped.append(FIELDS["dpi"])
    elif metadata.density:
        if all(value.is_integer() and 0 < value < 2**31 for value in metadata.density):
            chunks.append((b"pHYs", struct.pack(">IIB", *map(int, metadata.density), 0)))
        else:
            dropped.append(FIELDS["density"])
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif.removeprefix(PREFIX)))
    if metadata.xmp:
        chunks.append((b"iTXt", _XMP + bytes(4) + metadata.xmp))
    return chunks + [(kind, content) for kind, content in own if kind in _TEXTS], dropped


def _encode_8(pixels: np.ndarray) -> Iterator[bytes]:
    file = io.BytesIO()
    pillow.to_image(pixels).save(file, "PNG")
    for start, length in _read_chunks(file).data:
        file.seek(start)
        yield file.read(length)


def _encode_16(pixels: np.ndarray) -> Iterator[bytes]:
    # Pillow writes 16 bits for gray only, OpenCV neither gray with alpha nor metadata.
    height, width, channels = pixels.shape
    compressor = zlib.compressobj()
    for top in range(0, height, _ROWS):
        rows = (
            pixels[top : top + _ROWS].astype(">u2").view(np.uint8).reshape(-1, width, 2 * channels)
        )
        filtered = np.empty((len(rows), 1 + 2 * channels * width), np.uint8)
        filtered[:, 0] = _FILTER_SUB
        filtered[:, 1:] = np.diff(rows, axis=1, prepend=np.uint8(0)).reshape(len(rows), -1)
        yield compressor.compress(filtered.data)
    yield compressor.flush()


def _write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind + content)
    stream.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))


FORMAT = Format(
    "PNG",
    (".png",),
    matches=lambda start: start.startswith(_SIGNATURE),
    open=open_png,
    write=write_png,
    depths=("uint8", "uint16"),
    alpha=True,
    max_side=_MAX_WIDTH,
)
