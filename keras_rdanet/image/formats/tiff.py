"""TIFF: gray and RGB of 8 to 64 bits, with alpha; tifffile parses and writes."""

import io
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from keras_rdanet.image.formats import pillow
from keras_rdanet.image.picture import Metadata, PictureError, PictureHeader, Source

# (SampleFormat, BitsPerSample) -> how samples are stored; floats become float32.
_STORED = {(1, 8): "u1", (1, 16): "u2", (3, 16): "f2", (3, 32): "f4", (3, 64): "f8"}
_NONE, _DEFLATE, _OLD_DEFLATE = 1, 8, 32946
_FAX_AND_JPEG = (2, 3, 4, 6, 7)  # what only Pillow takes, a whole picture at a time
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_PREMULTIPLIED = 1
_SEPARATE = 2
_HORIZONTAL, _FLOATING_POINT = 2, 3
_EXIF_IFD, _GPS_IFD = 34665, 34853
# The tags of the first directory that are about the picture, not about the file.
_TEXT_TAGS = (270, 271, 272, 305, 306, 315, 316, 33432)
_OVERSIZE = 4096
_BIG = 2**32 - 2**26

logging.getLogger("tifffile").propagate = False  # errors are raised as well


def open_tiff(stream: BinaryIO) -> Source:
    """Read the directory of a TIFF, but not its pixels.

    Raises:
        PictureError: if it holds several pictures, or one that is neither gray
            nor RGB in 8 or 16 bits or float.
    """
    page = _only_page(tifffile.TiffFile(stream))
    if page.compression in _FAX_AND_JPEG or page.bitspersample == 1:
        stream.seek(0)
        return pillow.source(TiffImagePlugin.TiffImageFile(stream))  # turns it upright itself
    stored = _stored_dtype(page)
    channels, has_alpha = _channels(page, stored)
    header = PictureHeader(
        page.imagelength,
        page.imagewidth,
        channels,
        np.dtype(np.float32) if stored.kind == "f" else stored.newbyteorder("="),
        has_alpha,
    )
    orientation = page.tags.valueof(274, 1)
    return Source(
        header,
        orientation if orientation in range(1, 9) else 1,
        pixels=lambda: _decode(page, stored, header),
        metadata=lambda: _metadata(stream, page),
    )


def write_tiff(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a deflated TIFF; return what metadata could not be kept."""
    del quality
    has_alpha = pixels.shape[-1] in (2, 4)
    big = pixels.nbytes >= _BIG
    block = Image.Exif()
    dropped = []
    try:
        if big and metadata.exif:
            raise ValueError("EXIF directories of a BigTIFF are not written")
        block.load(metadata.exif or b"")
        tags = _exif_tags(block)
    except Exception:  # damaged EXIF makes Pillow raise anything
        block, tags, dropped = Image.Exif(), [], ["EXIF"]
    if metadata.xmp:
        tags.append((700, "B", len(metadata.xmp), metadata.xmp, True))
    tifffile.imwrite(
        stream,
        pixels if pixels.shape[-1] > 1 else pixels[..., 0],
        photometric="rgb" if pixels.shape[-1] > 2 else "minisblack",
        planarconfig="contig" if pixels.shape[-1] > 1 else None,
        extrasamples=["assocalpha" if metadata.premultiplied else "unassalpha"]
        if has_alpha
        else None,
        compression="zlib",
        predictor=pixels.dtype.kind == "u",
        iccprofile=metadata.icc,
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
        software=False,
        metadata=None,
        byteorder="<",
        bigtiff=big,
        extratags=tags,
    )
    _append_directories(stream, block)
    return dropped


def _only_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    if not len(file.pages):
        raise PictureError("cut short: the directory of the TIFF is missing")
    pages = []
    for page in file.pages:
        assert isinstance(page, tifffile.TiffPage)
        if not (page.is_reduced or page.is_mask):  # a thumbnail or a level of a pyramid
            pages.append(page)
        if len(pages) > 1:
            raise PictureError(
                "several pictures in one TIFF; save the one you want as a file of its own"
            )
    if not pages:
        raise PictureError("no picture but thumbnails (a camera raw file?)")
    (page,) = pages
    imagej = file.imagej_metadata or {}
    if page.imagedepth > 1 or imagej.get("images", 1) > 1:
        raise PictureError("a stack; save the plane you want as a file of its own")
    return page


def _stored_dtype(page: tifffile.TiffPage) -> np.dtype:
    name = _STORED.get((page.sampleformat, page.bitspersample))
    if name is None:
        known = page.dtype if page.bitspersample in (8, 16, 32, 64) else None
        raise PictureError(
            f"its samples are {known or f'of {page.bitspersample} bits'}; "
            "supported are uint8, uint16 and float"
        )
    return np.dtype(page.parent.byteorder + name)


def _channels(page: tifffile.TiffPage, stored: np.dtype) -> tuple[int, bool]:
    samples = page.samplesperpixel
    if page.photometric == _PALETTE and samples == 1 and stored.kind == "u":
        return 3, False
    if page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and samples in (1, 2):
        return 1, samples == 2
    if page.photometric == _RGB and samples in (3, 4):
        return 3, samples == 4
    raise PictureError(
        f"{samples} channels of {getattr(page.photometric, 'name', page.photometric)}; "
        "convert it to gray or RGB, with or without alpha, first"
    )


def _decode(page: tifffile.TiffPage, stored: np.dtype, header: PictureHeader) -> np.ndarray:
    pixels = np.empty((header.height, header.width, page.samplesperpixel), header.dtype)
    for place, segment in _segments(page, stored):
        height, width = pixels[place].shape[:2]
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
            pixels[place] = segment[:height, :width]
    if page.photometric == _PALETTE:
        colors = np.asarray(page.colormap).T  # of 16 bits whatever the depth
        return (colors >> 8 if header.dtype == np.uint8 else colors).astype(header.dtype)[
            pixels[..., 0]
        ]
    if page.photometric == _WHITE_IS_ZERO and stored.kind == "u":
        np.subtract(np.iinfo(header.dtype).max, pixels[..., 0], out=pixels[..., 0])
    if stored.kind == "f" and not np.isfinite([pixels.min(), pixels.max()]).all():
        raise PictureError("NaN or infinite samples")
    return pixels


def _segments(
    page: tifffile.TiffPage, stored: np.dtype
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield where each strip or tile goes in `(H, W, samples)`, and its samples.

    Without imagecodecs tifffile neither reads LZW nor limits what a strip may
    inflate to.
    """
    planes = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
    samples = page.samplesperpixel // planes
    tiled = page.is_tiled
    rows = page.tilelength if tiled else min(page.rowsperstrip, page.imagelength)
    columns = page.tilewidth if tiled else page.imagewidth
    if not 0 < rows < page.imagelength + _OVERSIZE or not 0 < columns < page.imagewidth + _OVERSIZE:
        raise PictureError(f"its tiles of {columns} x {rows} pixels are damaged")
    down = math.ceil(page.imagelength / rows)
    across = math.ceil(page.imagewidth / columns)
    if min(len(page.dataoffsets), len(page.databytecounts)) < planes * down * across:
        raise PictureError("cut short: strips or tiles are missing")
    for index in range(planes * down * across):
        plane, inside = divmod(index, down * across)
        top, left = rows * (inside // across), columns * (inside % across)
        height = rows if tiled else min(rows, page.imagelength - top)
        packed = _read(page, page.dataoffsets[index], page.databytecounts[index])
        flat = _unpack(page, packed, height, columns * samples * stored.itemsize)
        segment = _undo_predictor(page, flat, (height, columns, samples), stored)
        channels = slice(plane, plane + 1) if planes > 1 else slice(None)
        yield (slice(top, top + rows), slice(left, left + columns), channels), segment


def _read(page: tifffile.TiffPage, offset: int, length: int) -> bytes:
    file = page.parent.filehandle
    if not offset or not length or offset + length > file.size:
        raise PictureError("cut short: strips or tiles are missing")
    file.seek(offset)
    return file.read(length)


def _unpack(page: tifffile.TiffPage, packed: bytes, rows: int, row_bytes: int) -> np.ndarray:
    size = rows * row_bytes
    if page.compression in (_DEFLATE, _OLD_DEFLATE):
        packed = zlib.decompressobj().decompress(packed, size)
    elif page.compression != _NONE:
        packed = _unpack_with_libtiff(packed, page.compression, rows, row_bytes)
    if len(packed) < size:
        raise PictureError("cut short: a strip or tile ends early")
    return np.frombuffer(packed, np.uint8, size)


def _unpack_with_libtiff(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    # The codecs of bytes do not care what the bytes mean, so Pillow's libtiff
    # gets the segment as a gray picture of one strip.
    tags = {
        256: row_bytes,
        257: rows,
        258: 8,
        259: int(compression),
        262: _BLACK_IS_ZERO,
        273: 8,
        277: 1,
        278: rows,
        279: len(packed),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = 8 + len(packed) + len(packed) % 2
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    file = struct.pack("<4sI", b"II*\0", start) + packed.ljust(start - 8, b"\0") + directory
    return TiffImagePlugin.TiffImageFile(io.BytesIO(file)).tobytes()


def _undo_predictor(
    page: tifffile.TiffPage, flat: np.ndarray, shape: tuple[int, int, int], stored: np.dtype
) -> np.ndarray:
    rows, columns, samples = shape
    if page.predictor == _FLOATING_POINT:
        # Rows of all first bytes, all second bytes, ..., each less its left neighbour.
        sums = np.cumsum(flat.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
        planes = sums.reshape(rows, stored.itemsize, columns * samples)
        big_endian = np.ascontiguousarray(planes.swapaxes(1, 2))
        return big_endian.view(stored.newbyteorder(">")).reshape(shape)
    segment = flat.view(stored).reshape(shape)
    if page.predictor == _HORIZONTAL:
        unsigned = stored.str.replace("f", "u")
        native = np.dtype(unsigned).newbyteorder("=")
        sums = np.cumsum(segment.view(unsigned), axis=1, dtype=native)
        return sums.view(stored.newbyteorder("="))
    if page.predictor != 1:
        raise PictureError(f"TIFF predictor {page.predictor} is not supported")
    return segment


def _metadata(stream: BinaryIO, page: tifffile.TiffPage) -> Metadata:
    resolution = page.get_resolution("INCH") if page.resolutionunit in (2, 3) else None
    xmp = page.tags.valueof(700)
    return Metadata(
        exif=None if page.parent.is_bigtiff else _exif(stream),  # Pillow reads no other
        icc=page.iccprofile,
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=resolution,
        premultiplied=_PREMULTIPLIED in page.extrasamples,
    )


def _exif(stream: BinaryIO) -> bytes | None:
    """Collect what a JPEG would hold as EXIF; a TIFF spreads it over its directories."""
    try:
        stream.seek(0)
        found = Image.Exif()
        found.load_from_fp(stream)
        kept = Image.Exif()
        for tag in _TEXT_TAGS:
            if tag in found:
                kept[tag] = found[tag]
        for pointer in (_EXIF_IFD, _GPS_IFD):
            if directory := found.get_ifd(pointer):
                kept[pointer] = directory
        return kept.tobytes() if len(kept) else None
    except Exception:  # damaged EXIF makes Pillow raise anything; the picture is what counts
        return None


def _exif_tags(block: Image.Exif) -> list[tuple]:
    tags: list[tuple] = []
    for tag in _TEXT_TAGS:
        if text := block.get(tag):
            value = str(text).encode() + b"\0"
            tags.append((tag, "s", len(value), value, True))
    for pointer in (_EXIF_IFD, _GPS_IFD):
        if block.get_ifd(pointer):
            # tifffile leaves these two tags out, so their neighbours keep the place.
            tags.append((pointer - 1, "I", 1, 0, True))
    return tags


def _append_directories(stream: BinaryIO, block: Image.Exif) -> None:
    stream.seek(0)
    page = tifffile.TiffFile(stream).pages.first
    for pointer in (_EXIF_IFD, _GPS_IFD):
        tag = page.tags.get(pointer - 1)
        if tag is None:
            continue
        directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        for key, value in block.get_ifd(pointer).items():
            directory[key] = value
        start = stream.seek(0, 2)
        start += stream.write(bytes(start % 2))
        stream.write(directory.tobytes(start))
        stream.seek(tag.offset)
        stream.write(struct.pack("<HHII", pointer, 4, 1, start))
