"""JPEG: its segments, and its pixels through Pillow."""

import io
import math
import re
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from PIL import JpegImagePlugin

from keras_rdanet.image.exif import CENTIMETERS_PER_INCH, PREFIX, orientation, resolution
from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import (
    FIELDS,
    MAX_FIELD,
    Extra,
    Format,
    Metadata,
    PictureError,
    Source,
    unkept,
)

_SOI, _EOI, _SOS, _COMMENT, _APP0, _APP13 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xED
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = 0xC2
_HUFFMAN = {0xC0, 0xC1, _PROGRESSIVE}
_XMP, _EXTENDED_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _PHOTOSHOP = b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_CLAIMS = {  # start of a segment about data behind the picture -> its name in warnings
    _EXTENDED_XMP: "extended XMP",
    b"MPF\0": "the list of further pictures (MPF)",
    b"urn:iso:std:iso:ts:21496:-1\0": "the gain map",
}
# Segments that say how pixels are stored, or hold thumbnails of the unrestored picture.
_STRUCTURE = (b"JFIF\0", b"JFXX\0", b"Adobe")
_MAX_SEGMENT = 65_533
_MAX_XMP, _MAX_ICC = _MAX_SEGMENT - len(_XMP) - 2, 255 * (_MAX_SEGMENT - 14)
_MAX_SEGMENTS, _MAX_SCANS = 10_000, 50
_BLOCK = 1 << 20
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def open_jpeg(stream: BinaryIO) -> Source:
    """Read the header of a JPEG; of an MPO, only the main picture is read.

    Raises:
        PictureError: if it is of more than 8 bits, CMYK, or its segments are damaged.
    """
    file = _File(stream)
    metadata = file.metadata()
    image = pillow.opened(JpegImagePlugin.JpegImageFile, io.BytesIO(file.head))
    header = pillow.source(image).header
    return Source(
        header,
        orientation(metadata.exif),
        pixels=file.decode,
        metadata=file.metadata_with_trailer,
    )


def write_jpeg(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a JPEG without chroma subsampling; return what metadata could not be kept."""
    options, dropped = _options(metadata)
    pillow.to_image(pixels).save(stream, "JPEG", quality=quality, subsampling=0, **options)
    return dropped + unkept(metadata, FORMAT.name, *FIELDS)


class _File:
    """A JPEG whose segments before the first scan have been read.

    Args:
        stream: The file.

    Raises:
        PictureError: if they are damaged, or the depth is not 8 bits.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._size = stream.seek(0, 2)
        self._segments: list[tuple[int, bytes]] = []
        # The segments that decoding needs; Pillow would parse and check metadata once more.
        self.head = bytes([0xFF, _SOI])
        self._frame = 0
        position, total = 2, 0
        for marker, start, length in self._walk(position):
            if marker == _EOI:
                raise PictureError("damaged or cut short: there is no picture in the JPEG")
            total += length
            if len(self._segments) > _MAX_SEGMENTS or total > MAX_FIELD:
                raise PictureError("its metadata is too large")
            stream.seek(start)
            content = stream.read(length)
            self._segments.append((marker, content))
            is_metadata = _APP0 <= marker <= _APP0 + 15 or marker == _COMMENT
            if not is_metadata or content.startswith((b"JFIF\0", b"Adobe")):
                self.head += struct.pack(">BBH", 0xFF, marker, length + 2) + content
            if marker in _FRAMES:
                self._read_frame(marker, content)
            if marker == _SOS:
                self._scan_start = start + length
                break
        if not self._frame:
            raise PictureError("damaged: its size is missing")

    def metadata(self) -> Metadata:
        """Collect what stands before the pixels."""
        exif, packet, photoshop = b"", None, b""
        icc: dict[int, bytes] = {}
        icc_count = 0
        dpi = density = None
        extras = []
        for marker, content in self._segments:
            name = content[:32].split(b"\0")[0].decode("latin-1")
            if marker == _COMMENT:
                extras.append(Extra("comment", FORMAT.name, marker, content))
            elif not _APP0 <= marker <= _APP0 + 15:
                continue
            elif content.startswith(b"JFIF\0") and len(content) >= 12:
                dpi, density = _density(content)
            elif content.startswith(PREFIX):
                exif += content[len(PREFIX) :] if exif else content
            elif content.startswith(_XMP) and packet is None:
                packet = content[len(_XMP) :]
            elif content.startswith(_ICC) and len(content) > 14:
                icc_count = content[13]
                icc[content[12]] = content[14:]
            elif content.startswith(_PHOTOSHOP):
                photoshop += content[len(_PHOTOSHOP) :]
            elif claim := next((c for c in _CLAIMS if content.startswith(c)), None):
                extras.append(Extra(_CLAIMS[claim]))
            elif not content.startswith(_STRUCTURE):
                printable = "".join(c for c in name if c.isprintable())
                extras.append(Extra(f"segment APP{marker - _APP0} {printable}".rstrip()))
        if icc and sorted(icc) != list(range(1, icc_count + 1)):
            extras.append(Extra("ICC profile (incomplete)"))
            icc = {}
        return Metadata(
            exif=exif or None,
            icc=b"".join(icc[number] for number in sorted(icc)) or None,
            xmp=packet,
            dpi=dpi or resolution(exif),
            density=density,
            photoshop=photoshop or None,
            extras=tuple(dict.fromkeys(extras)),
        )

    def metadata_with_trailer(self) -> Metadata:
        """Collect the metadata, and say whether something stands behind the picture."""
        metadata = self.metadata()
        self._stream.seek(self._end)
        if self._stream.read(_BLOCK).strip(b"\0\xff\r\n"):
            trailer = Extra("the data behind the picture (a video or further pictures)")
            metadata = Metadata(**{**vars(metadata), "extras": (*metadata.extras, trailer)})
        return metadata

    def decode(self) -> np.ndarray:
        """Return the pixels.

        Raises:
            PictureError: if they are damaged or cut short.
        """
        scans = self._end - self._scan_start
        if self._frame in _HUFFMAN and 8 * scans < self._blocks:  # a bit each is the least
            raise PictureError("cut short: it holds too little data for its pixels")
        self._stream.seek(self._scan_start)
        file = self.head + self._stream.read(scans)
        pixels = _decoded(file)
        # What is missing becomes gray, or less sharp in a progressive JPEG. Then more data
        # tells whether something was missing: a whole picture ignores it.
        if self._frame == _PROGRESSIVE or (pixels[-1, -1] == 128).all():
            longer = file[:-2] + bytes([0x5A]) * 512 + file[-2:]
            if not np.array_equal(pixels, _decoded(longer)):
                raise PictureError("cut short: its pixels end early")
        return pixels

    @cached_property
    def _end(self) -> int:
        """The offset at which the main picture ends."""
        scans = 1
        position = _next_marker(self._stream, self._scan_start, self._most)
        for marker, start, _ in self._walk(position):
            if start - self._scan_start > self._most:
                raise PictureError("damaged: it holds more data than its pixels can take")
            if marker == _EOI:
                return start
            if marker == _SOS:
                scans += 1
                if scans > _MAX_SCANS:
                    raise PictureError(f"damaged: it has more than {_MAX_SCANS} scans")
        raise AssertionError

    def _walk(self, position: int) -> Iterator[tuple[int, int, int]]:
        """Yield marker, start and length of each segment; the pixels after a scan are skipped."""
        while True:
            self._stream.seek(position)
            start = self._stream.read(2)
            if start == b"\xff\xff":  # fill bytes
                position = _next_marker(self._stream, position, self._size)
                self._stream.seek(position)
                start = self._stream.read(2)
            if len(start) < 2:
                raise PictureError("cut short: the end of the JPEG is missing")
            if start[0] != 0xFF:
                raise PictureError("damaged: there is no segment where one should be")
            marker = start[1]
            if marker == _EOI:
                yield marker, position + 2, 0
            length = int.from_bytes(self._stream.read(2), "big")
            end = position + 2 + length
            if length < 2 or end > self._size:
                raise PictureError("cut short: the end of the JPEG is missing")
            yield marker, position + 4, length - 2
            position = _next_marker(self._stream, end, self._most) if marker == _SOS else end

    def _read_frame(self, marker: int, content: bytes) -> None:
        precision, height, width, components = struct.unpack_from(">BHHB", content)
        if precision != 8:
            raise PictureError(
                f"a JPEG of {precision} bits is not supported; convert it to a PNG or TIFF of "
                "16 bits first"
            )
        if not height or not width:
            raise PictureError(f"zero-sized ({width} x {height} pixels)")
        factors = [divmod(content[6 + 3 * i + 1], 16) for i in range(components)]
        most = [max(f[axis] for f in factors) for axis in (0, 1)]
        if not all(all(pair) for pair in factors):
            raise PictureError("its header is damaged")
        sizes = [
            math.ceil(width * across / (8 * most[0])) * math.ceil(height * down / (8 * most[1]))
            for across, down in factors
        ]
        self._frame = marker
        self._blocks = sum(sizes)
        self._most = 16 * (height * width * components + _BLOCK)


def _next_marker(stream: BinaryIO, position: int, most: int) -> int:
    """Return where the next marker stands that is not part of `most` bytes of pixel data."""
    stream.seek(position)
    last, end = b"", position + most
    while position < end and (block := stream.read(_BLOCK)):
        if match := _MARKER.search(last + block):
            return position + match.start() - len(last)
        position += len(block)
        last = block[-1:]
    raise PictureError("cut short: the end of the JPEG is missing")


def _decoded(file: bytes) -> np.ndarray:
    return pillow.source(JpegImagePlugin.JpegImageFile(io.BytesIO(file))).pixels()


def _density(jfif: bytes) -> tuple[tuple | None, tuple | None]:
    """Return the resolution per inch, or one without a unit, that a JFIF segment states."""
    unit, x, y = struct.unpack_from(">BHH", jfif, 7)
    if not x or not y or (unit == 0 and (x, y) == (1, 1)):
        return None, None
    if unit == 0:
        return None, (float(x), float(y))
    factor = {1: 1.0, 2: CENTIMETERS_PER_INCH}.get(unit)
    return ((x * factor, y * factor) if factor else None), None


def _options(metadata: Metadata) -> tuple[dict[str, Any], list[str]]:
    """Return the options of Pillow that keep the metadata, and what does not fit."""
    options: dict[str, Any] = {}
    dropped = []
    for key, name, limit in (
        ("exif", "exif", _MAX_SEGMENT),
        ("xmp", "xmp", _MAX_XMP),
        ("icc", "icc_profile", _MAX_ICC),
    ):
        value = getattr(metadata, key)
        if value and len(value) > limit:
            dropped.append(FIELDS[key])
        elif value:
            options[name] = value
    segments = [
        (extra.key, extra.content) for extra in metadata.extras if extra.home == FORMAT.name
    ]
    resources = metadata.photoshop or b""
    step = _MAX_SEGMENT - len(_PHOTOSHOP)
    for start in range(0, len(resources), step):
        segments.append((_APP13, _PHOTOSHOP + resources[start : start + step]))
    options["extra"] = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    )
    if metadata.dpi:
        if all(1 <= round(value) < 2**16 for value in metadata.dpi):
            options["dpi"] = metadata.dpi
        else:
            dropped.append(FIELDS["dpi"])
    elif metadata.density:
        dropped.append(FIELDS["density"])
    return options, dropped


FORMAT = Format(
    "JPEG",
    (".jpg", ".jpeg"),
    matches=lambda start: start.startswith(b"\xff\xd8\xff"),
    open=open_jpeg,
    write=write_jpeg,
    depths=("uint8",),
    max_side=65_500,
)
