"""TIFF: gray and RGB of 8 to 64 bits, with alpha."""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from PIL import TiffImagePlugin

from keras_rdanet.image.directories import (
    CLASSIC_KINDS,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directories,
    Directory,
    Entry,
    Field,
    lay_out,
    numbers_field,
    reordered,
)
from keras_rdanet.image.exif import CENTIMETERS_PER_INCH, PREFIX, collect, resolution
from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import (
    FIELDS,
    Extra,
    Format,
    Metadata,
    PictureError,
    PictureHeader,
    Source,
    unkept,
)

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _DESCRIPTION, _OFFSETS, _ORIENTATION, _SAMPLES, _ROWS = 266, 270, 273, 274, 277, 278
_COUNTS, _X_RESOLUTION, _Y_RESOLUTION, _PLANAR, _UNIT, _PREDICTOR = 279, 282, 283, 284, 296, 317
_COLORS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 320, 322, 323, 324, 325
_EXTRA_SAMPLES, _FORMAT, _SUBFILE, _DEPTH = 338, 339, 254, 32997
_XMP, _PHOTOSHOP, _ICC = 700, 34377, 34675

# (SampleFormat, BitsPerSample) -> how samples are stored; floats become float32.
_STORED = {(1, 8): "u1", (1, 16): "u2", (3, 16): "f2", (3, 32): "f4", (3, 64): "f8"}
_FORMATS = {1: "uint", 2: "int", 3: "float", 5: "complex int", 6: "complex"}
_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 8, 32946, 32773
# The most bytes that a byte can stand for.
_RATIOS = {_NONE: 1, _LZW: 4096, _DEFLATE: 1032, _OLD_DEFLATE: 1032, _PACKBITS: 64}
_FAX_AND_JPEG = (2, 3, 4, 6, 7)  # read by Pillow alone, a whole picture at a time
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_COLOR_NAMES = {4: "MASK", 5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICCLAB", 32803: "a mosaic"}
_REDUCED, _MASK = 1, 4
_PREMULTIPLIED, _UNASSOCIATED = 1, 2
_SEPARATE = 2
_HORIZONTAL, _FLOATING_POINT = 2, 3

# Tags that say how pixels are stored, which is not how they are written again, or where
# thumbnails of the unrestored picture lie.
_STRUCTURE = {
    *(_SUBFILE, 255, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 263, 264, 265),
    *(_FILL_ORDER, _OFFSETS, _SAMPLES, _ROWS, _COUNTS, 280, 281, _PLANAR, 288, 289, 290, 291),
    *(292, 293, _PREDICTOR, _COLORS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS),
    *(330, 332, 333, 334, 336, _EXTRA_SAMPLES, _FORMAT, 340, 341, 347, *range(512, 522)),
    *(529, 530, 531, 532, _DEPTH),
}
_ELSEWHERE = {_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _XMP, _PHOTOSHOP, _ICC}
# Tags in the first directory of EXIF, besides those.
_DESCRIPTIVE = {
    *(269, _DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 36867),
    *(40091, 40092, 40093, 40094, 40095, 50341),
}
_GEOGRAPHIC = {33550, 33922, 34264, 34735, 34736, 34737}
_NAMES = {
    **dict.fromkeys(_GEOGRAPHIC, "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "GDAL metadata"),
    **dict.fromkeys((50838, 50839), "ImageJ metadata"),
    33723: "IPTC",
    37724: "layers of Photoshop",
}
_UNWRITABLE = {37724, *range(50706, 52_600)}  # layers, and the tags of a DNG

_MAX_DIRECTORIES = 1000
_MAX_SEGMENTS, _BYTES_PER_SEGMENT = 50_000, 1024
_OVERSIZE = 4096
_SPARE = 1 << 20
_BATCH = 1 << 22
_STRIP = 1 << 18
_BIG = 2**32 - 2**26


def open_tiff(stream: BinaryIO) -> Source:
    """Read the directory of a TIFF, but not its pixels.

    Raises:
        PictureError: if it holds several pictures, or one that is neither gray
            nor RGB in 8 or 16 bits or float, or if its directories are damaged.
    """
    file = Directories(stream)
    page = _Page(file, _only_page(file))
    if not page.height or not page.width:
        raise PictureError(f"zero-sized ({page.width} x {page.height} pixels)")
    compression, stored_bits = page.number(_COMPRESSION, _NONE), page.same(_BITS, 1)
    reversed_bits = page.number(_FILL_ORDER, 1) == 2
    if compression in _FAX_AND_JPEG or stored_bits == 1 or reversed_bits:
        image = pillow.opened(TiffImagePlugin.TiffImageFile, stream)
        return pillow.source(image, lambda: _metadata(page))  # turns it upright itself
    stored = _stored_dtype(page)
    channels, has_alpha = _channels(page, stored)
    header = PictureHeader(
        page.height,
        page.width,
        channels,
        np.dtype(np.float32) if stored.kind == "f" else stored.newbyteorder("="),
        has_alpha,
    )
    orientation = page.number(_ORIENTATION, 1)
    return Source(
        header,
        orientation if orientation in range(1, 9) else 1,
        pixels=lambda: _decode(stream, page, stored, header),
        metadata=lambda: _metadata(page),
    )


def write_tiff(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a deflated TIFF; return what metadata could not be kept.

    EXIF becomes the start of the file, so that every offset in it stays right; the one
    to the first directory is then changed to the directory of the picture.
    """
    del quality
    big = pixels.nbytes >= _BIG
    order, start, fields, dropped = _start(metadata, big)
    stream.write(start)
    places = [_write_strip(stream, strip, order) for strip in _strips(pixels)]
    fields |= _picture_fields(pixels, metadata.premultiplied, places, order, big)
    more, too_large = _metadata_fields(metadata, order)
    fields |= more
    end = stream.tell()
    end += stream.write(bytes(end % 2))
    stream.write(lay_out(fields.values(), end, order, big=big))
    stream.seek(8 if big else 4)
    stream.write(struct.pack(order + ("Q" if big else "I"), end))
    return dropped + too_large + unkept(metadata, FORMAT.name, *FIELDS)


@dataclass(frozen=True)
class _Page:
    """The directory of the picture."""

    file: Directories
    directory: Directory

    @property
    def height(self) -> int:
        return self.number(_HEIGHT, 0)

    @property
    def width(self) -> int:
        return self.number(_WIDTH, 0)

    @property
    def samples(self) -> int:
        return self.number(_SAMPLES, 1)

    def numbers(self, tag: int) -> tuple:
        """Return the values of a tag, empty if it is missing."""
        entry = self.directory.entries.get(tag)
        return () if entry is None else self.file.numbers(entry)

    def number(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        return next(iter(self.numbers(tag)), default)

    def same(self, tag: int, default: int) -> int:
        """Return the value that a tag has for every sample."""
        values = set(self.numbers(tag)) or {default}
        if len(values) > 1:
            raise PictureError(f"its samples differ ({', '.join(map(str, sorted(values)))} bits)")
        return values.pop()

    def value(self, tag: int) -> bytes | None:
        """Return the bytes of a tag."""
        entry = self.directory.entries.get(tag)
        return self.file.value(entry) or None if entry else None


def _only_page(file: Directories) -> Directory:
    offset, seen, pages = file.first, set[int](), []
    while offset and offset not in seen:
        if len(seen) == _MAX_DIRECTORIES:
            raise PictureError(f"damaged: it has more than {_MAX_DIRECTORIES} directories")
        seen.add(offset)
        directory = file.directory(offset)
        subfile = _Page(file, directory).number(_SUBFILE, 0)
        if not subfile & (_REDUCED | _MASK):  # a thumbnail or a level of a pyramid
            pages.append(directory)
        if len(pages) > 1:
            raise PictureError(
                "several pictures in one TIFF; save the one you want as a file of its own"
            )
        offset = directory.next
    if not seen:
        raise PictureError("cut short: the directory of the TIFF is missing")
    if not pages:
        raise PictureError("no picture but thumbnails (a camera raw file?)")
    page = _Page(file, pages[0])
    description = page.value(_DESCRIPTION) or b""
    images = re.search(rb"^images=(\d{1,9})", description[:_OVERSIZE], re.MULTILINE)
    is_stack = description.startswith(b"ImageJ=") and images and int(images[1]) > 1
    if page.number(_DEPTH, 1) > 1 or is_stack:
        raise PictureError("a stack; save the plane you want as a file of its own")
    return pages[0]


def _stored_dtype(page: _Page) -> np.dtype:
    kind, bits = page.same(_FORMAT, 1), page.same(_BITS, 1)
    name = _STORED.get((kind, bits))
    if name is None:
        known = (
            f"{_FORMATS[kind]}{bits}" if kind in _FORMATS and bits % 8 == 0 else f"of {bits} bits"
        )
        raise PictureError(f"its samples are {known}; supported are uint8, uint16 and float")
    return np.dtype(page.file.order + name)


def _channels(page: _Page, stored: np.dtype) -> tuple[int, bool]:
    photometric, samples = page.number(_PHOTOMETRIC, _BLACK_IS_ZERO), page.samples
    if photometric == _PALETTE and samples == 1 and stored.kind == "u":
        return 3, False
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and samples in (1, 2):
        return 1, samples == 2
    if photometric == _RGB and samples in (3, 4):
        return 3, samples == 4
    name = {_RGB: "RGB", _PALETTE: "PALETTE", **_COLOR_NAMES}.get(photometric, photometric)
    raise PictureError(
        f"{samples} channels of {name}; convert it to gray or RGB, with or without alpha, first"
    )


def _decode(stream: BinaryIO, page: _Page, stored: np.dtype, header: PictureHeader) -> np.ndarray:
    segments = _Segments(stream, page, stored)
    pixels = np.empty((header.height, header.width, page.samples), header.dtype)
    for place, segment in segments:
        height, width = pixels[place].shape[:2]
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
            pixels[place] = segment[:height, :width]
    photometric = page.number(_PHOTOMETRIC, _BLACK_IS_ZERO)
    if photometric == _PALETTE:
        return _palette(page, header.dtype)[pixels[..., 0]]
    if photometric == _WHITE_IS_ZERO and stored.kind == "u":
        np.subtract(np.iinfo(header.dtype).max, pixels[..., 0], out=pixels[..., 0])
    if stored.kind == "f" and not np.isfinite([pixels.min(), pixels.max()]).all():
        raise PictureError("NaN or infinite samples")
    return pixels


def _palette(page: _Page, dtype: np.dtype) -> np.ndarray:
    colors = np.array(page.numbers(_COLORS), np.uint16)  # of 16 bits whatever the depth
    size = np.iinfo(dtype).max + 1
    if len(colors) != 3 * size:
        raise PictureError("damaged: its palette is not whole")
    return (colors >> 8 if dtype == np.uint8 else colors).astype(dtype).reshape(3, size).T


class _Segments:
    """The strips or tiles of a picture: where each goes in `(H, W, samples)`, and its samples.

    Raises:
        PictureError: if there are too few of them, too many, or they cannot hold the pixels.
    """

    def __init__(self, stream: BinaryIO, page: _Page, stored: np.dtype):
        self._stream, self._page, self._stored = stream, page, stored
        planes = page.samples if page.number(_PLANAR, 1) == _SEPARATE else 1
        self._planes, self._samples = planes, page.samples // planes
        self._tiled = _TILE_WIDTH in page.directory.entries
        if self._tiled:
            self._rows, self._columns = page.number(_TILE_HEIGHT, 0), page.number(_TILE_WIDTH, 0)
        else:
            self._rows = min(page.number(_ROWS, page.height), page.height)
            self._columns = page.width
        if not (
            0 < self._rows < page.height + _OVERSIZE and 0 < self._columns < page.width + _OVERSIZE
        ):
            raise PictureError(f"its tiles of {self._columns} x {self._rows} pixels are damaged")
        self._down = math.ceil(page.height / self._rows)
        self._across = math.ceil(page.width / self._columns)
        self._row_bytes = self._columns * self._samples * stored.itemsize
        self._compression = page.number(_COMPRESSION, _NONE)
        self._predictor = page.number(_PREDICTOR, 1)
        count = planes * self._down * self._across
        if count > _MAX_SEGMENTS + page.file.size // _BYTES_PER_SEGMENT:
            raise PictureError(
                f"damaged: its {count} strips or tiles are more than it has data for"
            )
        self._offsets, self._counts = self._find(count)

    def __iter__(self) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        batch = max(1, _BATCH // (self._rows * self._row_bytes))
        count = len(self._offsets)
        for start in range(0, count, batch):
            indices = range(start, min(start + batch, count))
            for index, flat in zip(indices, self._unpack(indices), strict=True):
                yield self._place(index), self._undo_predictor(flat, self._height(index))

    def _find(self, count: int) -> tuple[list[int], list[int]]:
        page = self._page
        tags = (_TILE_OFFSETS, _TILE_COUNTS) if self._tiled else (_OFFSETS, _COUNTS)
        offsets, counts = (page.numbers(tag)[:count] for tag in tags)
        if not counts and self._compression == _NONE:
            counts = tuple(self._height(index) * self._row_bytes for index in range(count))
        if min(len(offsets), len(counts)) < count:
            raise PictureError("cut short: strips or tiles are missing")
        size = page.file.size
        for offset, length in zip(offsets, counts, strict=True):
            if offset <= 0 or length <= 0 or offset + length > size:
                raise PictureError("cut short: strips or tiles are missing")
        stored = page.height * self._row_bytes * self._planes
        ratio = _RATIOS.get(self._compression)
        if ratio and stored > ratio * sum(counts) + _SPARE:
            raise PictureError("cut short: it holds too little data for its pixels")
        if max(counts) > 4 * (self._rows * self._row_bytes + _SPARE):
            raise PictureError("damaged: it holds more data than its pixels can take")
        return list(offsets), list(counts)

    def _height(self, index: int) -> int:
        top = self._rows * (index % (self._down * self._across) // self._across)
        return self._rows if self._tiled else min(self._rows, self._page.height - top)

    def _place(self, index: int) -> tuple[slice, ...]:
        plane, inside = divmod(index, self._down * self._across)
        top, left = self._rows * (inside // self._across), self._columns * (inside % self._across)
        channels = slice(plane, plane + 1) if self._planes > 1 else slice(None)
        return slice(top, top + self._rows), slice(left, left + self._columns), channels

    def _unpack(self, indices: range) -> Iterator[np.ndarray]:
        packed = [self._read(index) for index in indices]
        sizes = [self._height(index) * self._row_bytes for index in indices]
        most = self._rows * self._row_bytes
        if self._compression in (_DEFLATE, _OLD_DEFLATE):
            unpacked = [
                _inflate(data, size, most) for data, size in zip(packed, sizes, strict=True)
            ]
        elif self._compression == _NONE:
            unpacked = packed
        else:
            yield from self._unpack_with_libtiff(indices, packed)
            return
        for data, size in zip(unpacked, sizes, strict=True):
            if len(data) < size:
                raise PictureError("cut short: a strip or tile ends early")
            yield np.frombuffer(data, np.uint8, size)

    def _read(self, index: int) -> bytes:
        self._stream.seek(self._offsets[index])
        return self._stream.read(self._counts[index])

    def _unpack_with_libtiff(self, indices: range, packed: list[bytes]) -> Iterator[np.ndarray]:
        if self._compression == _LZW and any(part.endswith(bytes(8)) for part in packed):
            raise PictureError("cut short: a strip or tile does not end as LZW does")
        # The codecs of bytes do not care what the bytes mean, so Pillow's libtiff
        # gets segments of one height as the strips of a gray picture.
        start = 0
        while start < len(packed):
            height, end = self._height(indices[start]), start
            while end < len(packed) and self._height(indices[end]) == height:
                end += 1
            unpacked = _unpack_with_libtiff(
                packed[start:end], self._compression, height, self._row_bytes
            )
            flat = np.frombuffer(unpacked, np.uint8)
            yield from flat.reshape(end - start, height * self._row_bytes)
            start = end

    def _undo_predictor(self, flat: np.ndarray, rows: int) -> np.ndarray:
        shape, stored = (rows, self._columns, self._samples), self._stored
        if self._predictor == _FLOATING_POINT:
            # Rows of all first bytes, all second bytes, ..., each less its left neighbour.
            sums = np.cumsum(flat.reshape(rows, -1, self._samples), axis=1, dtype=np.uint8)
            planes = sums.reshape(rows, stored.itemsize, self._columns * self._samples)
            big_endian = np.ascontiguousarray(planes.swapaxes(1, 2))
            return big_endian.view(stored.newbyteorder(">")).reshape(shape)
        segment = flat.view(stored).reshape(shape)
        if self._predictor == _HORIZONTAL:
            unsigned = stored.str.replace("f", "u")
            native = np.dtype(unsigned).newbyteorder("=")
            sums = np.cumsum(segment.view(unsigned), axis=1, dtype=native)
            return sums.view(stored.newbyteorder("="))
        if self._predictor != 1:
            raise PictureError(f"TIFF predictor {self._predictor} is not supported")
        return segment


def _inflate(packed: bytes, size: int, most: int) -> bytes:
    """Return what a deflated strip of `size` bytes holds; the last one may be padded to `most`."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, most)
        more = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise PictureError(f"its pixels are damaged ({error})") from error
    if more:
        raise PictureError("its pixels are damaged (a strip or tile holds more than its size)")
    if len(data) < size or not stream.eof:
        raise PictureError("cut short: a strip or tile ends early")
    return data


def _unpack_with_libtiff(packed: list[bytes], compression: int, rows: int, row_bytes: int) -> bytes:
    data = b"".join(packed)
    offsets = 8 + np.cumsum([0, *map(len, packed)])[:-1]
    numbers = {
        _WIDTH: [row_bytes],
        _HEIGHT: [rows * len(packed)],
        _BITS: [8],
        _COMPRESSION: [compression],
        _PHOTOMETRIC: [_BLACK_IS_ZERO],
        _OFFSETS: offsets.tolist(),
        _SAMPLES: [1],
        _ROWS: [rows],
        _COUNTS: [len(part) for part in packed],
    }
    start = 8 + len(data) + len(data) % 2
    fields = [numbers_field(tag, LONG, values, "<") for tag, values in numbers.items()]
    header = struct.pack("<4sI", b"II*\0", start)
    file = (header + data).ljust(start, b"\0") + lay_out(fields, start, "<")
    return TiffImagePlugin.TiffImageFile(io.BytesIO(file)).tobytes()


def _metadata(page: _Page) -> Metadata:
    pointers = {
        tag: entry
        for tag, entry in page.directory.entries.items()
        if tag in (EXIF_DIRECTORY, GPS_DIRECTORY)
    }
    exif, lost = collect(page.file, _descriptive(page), pointers)
    extras = [Extra(name) for name in lost]
    for tag, entry in sorted(page.directory.entries.items()):
        if tag in _STRUCTURE or tag in _ELSEWHERE or tag in pointers:
            continue
        if tag in _DESCRIPTIVE and not _is_ome(page, tag):
            continue
        extras.append(_extra(page, tag, entry))
    values = {}
    for tag, name in ((_XMP, "xmp"), (_PHOTOSHOP, "photoshop"), (_ICC, "icc")):
        try:
            values[name] = page.value(tag)
        except PictureError:
            extras.append(Extra(f"{FIELDS[name]} (damaged)"))
    dpi, density = _resolution(page)
    return Metadata(
        exif=exif,
        dpi=dpi,
        density=density,
        premultiplied=_PREMULTIPLIED in page.numbers(_EXTRA_SAMPLES),
        extras=tuple(extras),
        **values,
    )


def _descriptive(page: _Page) -> list[Field]:
    """Return what EXIF has in its first directory as well."""
    fields: list[Field] = []
    for tag, entry in page.directory.entries.items():
        if tag in _DESCRIPTIVE and entry.kind in CLASSIC_KINDS and not _is_ome(page, tag):
            value = page.file.value(entry)
            # tifffile describes the shape of the array there.
            if tag != _DESCRIPTION or not value.startswith(b'{"shape"'):
                fields.append((tag, entry.kind, entry.count, value))
    return fields


def _extra(page: _Page, tag: int, entry: Entry) -> Extra:
    name = _NAMES.get(tag, "OME description" if tag == _DESCRIPTION else f"TIFF tag {tag}")
    if tag in _UNWRITABLE or entry.kind not in CLASSIC_KINDS:
        return Extra(name)
    try:
        value = page.file.value(entry)
    except PictureError:
        return Extra(f"{name} (damaged)")
    if page.file.order == ">":
        value = reordered(value, entry.kind)
    is_spatial = tag in _GEOGRAPHIC or tag == _DESCRIPTION
    return Extra(name, FORMAT.name, (tag, entry.kind, entry.count), value, is_spatial)


def _is_ome(page: _Page, tag: int) -> bool:
    """Whether a tag is a description in OME-XML, which states sizes in pixels."""
    return tag == _DESCRIPTION and b"<OME" in (page.value(tag) or b"")[:_OVERSIZE]


def _resolution(page: _Page) -> tuple[tuple | None, tuple | None]:
    values = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        fraction = page.numbers(tag)
        if len(fraction) != 2 or not all(fraction):
            return None, None
        values.append(fraction[0] / fraction[1])
    unit = page.number(_UNIT, 2)
    if unit == 1 and values != [1.0, 1.0]:
        return None, (values[0], values[1])
    factor = {2: 1.0, 3: CENTIMETERS_PER_INCH}.get(unit)
    return ((values[0] * factor, values[1] * factor) if factor else None), None


def _start(metadata: Metadata, big: bool) -> tuple[str, bytes, dict[int, Field], list[str]]:
    """Return byte order and start of a file, the fields that EXIF brings, and what is lost."""
    if big:
        start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0)
        return "<", start, {}, [FIELDS["exif"]] if metadata.exif else []
    header = struct.pack("<2sHI", b"II", 42, 0)
    if not metadata.exif:
        return "<", header, {}, []
    block = metadata.exif.removeprefix(PREFIX)
    try:
        file = Directories(io.BytesIO(block))
        if file.big:
            raise PictureError("EXIF is no BigTIFF")
        fields = {
            tag: _field(file, entry)
            for tag, entry in file.directory(file.first).entries.items()
            if (tag not in _STRUCTURE and tag not in _ELSEWHERE) or tag == _ORIENTATION
        }
        for pointer in (EXIF_DIRECTORY, GPS_DIRECTORY):
            if pointer in fields:
                inner = file.directory(_Page(file, file.directory(file.first)).number(pointer, 0))
                for entry in inner.entries.values():
                    file.value(entry)
    except PictureError:
        return "<", header, {}, [FIELDS["exif"]]
    return file.order, block + bytes(len(block) % 2), fields, []


def _field(file: Directories, entry: Entry) -> Field:
    value = file.value(entry)
    return entry.tag, entry.kind, entry.count, value if entry.size <= 4 else entry.position


def _strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    rows = _rows_per_strip(pixels)
    for top in range(0, len(pixels), rows):
        yield pixels[top : top + rows]


def _rows_per_strip(pixels: np.ndarray) -> int:
    return max(1, _STRIP // pixels[0].nbytes)


def _write_strip(stream: BinaryIO, strip: np.ndarray, order: str) -> tuple[int, int]:
    """Write a strip; return its offset and length."""
    if strip.dtype.kind == "u":
        strip = np.diff(strip, axis=1, prepend=strip.dtype.type(0))
    packed = zlib.compress(strip.astype(f"{order}{strip.dtype.str[1:]}").tobytes())
    return stream.tell(), stream.write(packed)


def _picture_fields(
    pixels: np.ndarray, premultiplied: bool, places: list[tuple[int, int]], order: str, big: bool
) -> dict[int, Field]:
    height, width, samples = pixels.shape
    is_integer = pixels.dtype.kind == "u"
    offsets, counts = zip(*places, strict=True)
    numbers: dict[int, tuple[int, list[int]]] = {
        _WIDTH: (LONG, [width]),
        _HEIGHT: (LONG, [height]),
        _BITS: (SHORT, [8 * pixels.itemsize] * samples),
        _COMPRESSION: (SHORT, [_DEFLATE]),
        _PHOTOMETRIC: (SHORT, [_RGB if samples > 2 else _BLACK_IS_ZERO]),
        _OFFSETS: (16 if big else LONG, list(offsets)),
        _SAMPLES: (SHORT, [samples]),
        _ROWS: (LONG, [min(height, _rows_per_strip(pixels))]),
        _COUNTS: (LONG, list(counts)),
        _PLANAR: (SHORT, [1]),
        _PREDICTOR: (SHORT, [_HORIZONTAL if is_integer else 1]),
        _FORMAT: (SHORT, [1 if is_integer else 3] * samples),
    }
    if samples in (2, 4):
        numbers[_EXTRA_SAMPLES] = (SHORT, [_PREMULTIPLIED if premultiplied else _UNASSOCIATED])
    return {tag: numbers_field(tag, kind, values, order) for tag, (kind, values) in numbers.items()}


def _metadata_fields(metadata: Metadata, order: str) -> tuple[dict[int, Field], list[str]]:
    """Return the fields of all metadata but EXIF, and what does not fit."""
    fields: dict[int, Field] = {}
    dropped = []
    for extra in metadata.extras:
        if extra.home == FORMAT.name:
            tag, kind, count = extra.key
            value = reordered(extra.content, kind) if order == ">" else extra.content
            fields[tag] = (tag, kind, count, value)
    for tag, kind, content in (
        (_XMP, 1, metadata.xmp),
        (_PHOTOSHOP, UNDEFINED, metadata.photoshop),
        (_ICC, UNDEFINED, metadata.icc),
    ):
        if content:
            fields[tag] = (tag, kind, len(content), content)
    stated = resolution(metadata.exif)
    unit, values, key = 2, metadata.dpi or stated, "dpi"
    if metadata.density and not metadata.dpi:
        unit, values, key = 1, metadata.density, "density"
    if values:
        fractions = [Fraction(value).limit_denominator(1 << 16) for value in values]
        if all(0 < fraction.numerator < 2**32 for fraction in fractions):
            for tag, fraction in zip((_X_RESOLUTION, _Y_RESOLUTION), fractions, strict=True):
                pair = [fraction.numerator, fraction.denominator]
                fields[tag] = numbers_field(tag, RATIONAL, pair, order)
            fields[_UNIT] = numbers_field(_UNIT, SHORT, [unit], order)
        else:
            dropped.append(FIELDS[key])
    return fields, dropped


FORMAT = Format(
    "TIFF",
    (".tif", ".tiff"),
    matches=lambda start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    open=open_tiff,
    write=write_tiff,
    depths=("uint8", "uint16", "float32"),
    alpha=True,
    max_side=2**31 - 1,
    premultiplied=True,
)
