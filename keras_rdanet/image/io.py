"""Reading and writing picture files: the only module that handles files, uint8 and uint16.

A picture keeps its depth, gray or colour, alpha, EXIF, ICC and XMP.
The depth is what the header says, never a guess from the values.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from keras_rdanet.files import open_regular, writing
from keras_rdanet.image.formats import avif, bmp, gif, heic, jpeg, png, tiff, webp
from keras_rdanet.image.geometry import dihedral
from keras_rdanet.image.metadata import upright
from keras_rdanet.image.picture import (
    Format,
    Metadata,
    Picture,
    PictureError,
    PictureHeader,
    Source,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "READ_SUFFIXES",
    "SUFFIXES",
    "Metadata",
    "OpenedPicture",
    "Picture",
    "PictureError",
    "PictureHeader",
    "check_target",
    "open_picture",
    "probe_size",
    "read_picture",
    "result_suffix",
    "to_float",
    "to_samples",
    "write_picture",
]

MAX_PIXELS = 250_000_000

# EXIF orientation -> the `dihedral` mode that turns stored pixels upright.
_UPRIGHT = {1: 0, 2: 4, 3: 6, 4: 2, 5: 1, 6: 3, 7: 7, 8: 5}

# Every picture format: its file, and one line here.
FORMATS = (
    jpeg.FORMAT,
    png.FORMAT,
    webp.FORMAT,
    tiff.FORMAT,
    bmp.FORMAT,
    gif.FORMAT,
    avif.FORMAT,
    heic.FORMAT,
)
_START = 64  # the bytes by which formats know their files
_MOST_NAMES = 20  # of fields in a warning

# Suffixes of the files that are written and read, and of those that are read.
SUFFIXES = tuple(suffix for known in FORMATS if known.write for suffix in known.suffixes)
READ_SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)


class OpenedPicture:
    """A picture file that is open, as `open_picture` yields it; only its header has been read.

    Args:
        name: The name of the file, for error messages.
        source: The opened file.
    """

    def __init__(self, name: str, source: Source):
        self.name = name
        self._source = source

    @property
    def header(self) -> PictureHeader:
        """The header of the result of `read`: sizes, channels, depth, alpha."""
        header = self._source.header
        if self._source.orientation < 5:
            return header
        return replace(header, height=header.width, width=header.height)

    def read(self) -> Picture:
        """Decode the picture, as `read_picture`."""
        source = self._source
        with _naming(self.name):
            pixels = source.pixels()
            metadata = source.metadata()
        if source.remark:
            warnings.warn(f"{self.name}: {source.remark}")
        metadata = upright(metadata, source.orientation, self.header.height, self.header.width)
        pixels = np.ascontiguousarray(dihedral(pixels, _UPRIGHT[source.orientation]))
        channels = source.header.channels
        if not source.header.has_alpha:
            return Picture(pixels, None, metadata)
        samples = np.ascontiguousarray(pixels[..., :channels])
        return Picture(samples, pixels[..., channels].copy(), metadata)


@contextmanager
def open_picture(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS
) -> Iterator[OpenedPicture]:
    """Open a picture as far as its header; it can be read while the block lasts.

    Raises:
        PictureError: as `read_picture`, for what the header shows.
    """
    path = Path(path)
    with ExitStack() as stack:
        with _naming(str(path)):
            if not path.is_file():
                raise PictureError(_why_no_file(path))
            source = _open(stack.enter_context(open_regular(path)))
            _check_size(source.header, max_pixels)
        yield OpenedPicture(str(path), source)


def result_suffix(path: str | os.PathLike) -> str:
    """Return the suffix for a restored copy of a picture file: that of its own format.

    The first bytes of the file decide its format. The suffix is `.png` if the format is unknown
    or cannot be written.

    Raises:
        OSError: if the file cannot be read.
    """
    with open_regular(path) as stream:
        start = stream.read(_START)
    for known in FORMATS:
        if known.write and known.matches(start):
            return known.suffixes[0]
    return ".png"


def read_picture(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF or HEIC in its own depth.

    EXIF orientation is applied to samples and alpha. Palettes become RGB (or
    gray, if they hold nothing else), 1-bit pictures uint8, half and double
    floats float32. From an MPO (a JPEG with more pictures behind it, as phones
    write them) comes the main picture, from a GIF or AVIF the first frame, with a
    warning if there are more. WebP and AVIF know no gray: they are always RGB.
    HEIC needs the package pillow-heif. The rule for metadata is in docs/metadata.md.

    Args:
        path: The file.
        max_pixels: The most pixels to decode, compared with the header.

    Raises:
        PictureError: one line that names the file and what is wrong with it: missing,
            empty, not a picture, damaged or cut short, too large, several
            pictures or frames in one file, NaN, or a depth or colours other than these.
    """
    with open_picture(path, max_pixels=max_pixels) as picture:
        return picture.read()


def probe_size(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> PictureHeader:
    """Return sizes, channels, depth and alpha of a picture file, without decoding it.

    Raises:
        PictureError: as `read_picture`, for what the header shows.
    """
    with open_picture(path, max_pixels=max_pixels) as picture:
        return picture.header


def write_picture(
    path: str | os.PathLike,
    picture: Picture,
    *,
    strip_metadata: bool = False,
    quality: int = 95,
) -> None:
    """Write a picture whole or not at all, in the container that the suffix names.

    JPEG is written without chroma subsampling, WebP lossless, TIFF deflated.
    Metadata that the container cannot hold is left out with a warning that names it.

    Args:
        path: A path that ends in one of `SUFFIXES`.
        picture: Picture to write; its depth is kept.
        strip_metadata: Whether to leave out EXIF, ICC, XMP and resolution.
        quality: Quality of a JPEG, 1 to 100.

    Raises:
        PictureError: if the container cannot hold the depth, the alpha channel or
            the size, or the suffix is unknown.
        OSError: if the file cannot be written; an older one is left unchanged.
    """
    path = Path(path)
    container = _container_for(path, picture.header)
    assert container.write
    if picture.metadata.premultiplied and picture.alpha is not None and not container.premultiplied:
        raise PictureError(
            f"{path}: {container.name} cannot hold colours multiplied by alpha; write a TIFF"
        )
    pixels = picture.samples
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., np.newaxis]], axis=-1)
    metadata = picture.metadata
    if strip_metadata:
        metadata = Metadata(premultiplied=metadata.premultiplied)
    metadata = upright(metadata, 1, picture.header.height, picture.header.width)
    with writing(path) as stream:
        dropped = container.write(stream, np.ascontiguousarray(pixels), metadata, quality)
    if dropped:
        warnings.warn(f"{path}: {container.name} could not keep {_listed(dropped)}")


def _listed(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def check_target(path: str | os.PathLike, header: PictureHeader) -> None:
    """Raise the errors of `write_picture`, before the work of restoring.

    Raises:
        PictureError: if the container cannot hold such a picture.
        OSError: if the folder is missing or nothing can be written there.
    """
    path = Path(path)
    _container_for(path, header)
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write {path}: it is not a regular file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: permission denied")


def to_float(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32: uint8 and uint16 scaled to [0, 1], float as it is."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    values = samples.astype(np.float32)
    values /= _white(samples.dtype)
    return values


def to_samples(values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return float values as samples of a depth.

    Args:
        values: Float and finite; for integer depths nominally in [0, 1], clipped
            there and rounded half to even.
        dtype: uint8, uint16, or float32, which leaves the values alone.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    scaled = np.clip(values, 0, 1)
    scaled *= _white(dtype)
    return np.rint(scaled, out=scaled).astype(dtype)


def _white(dtype: np.dtype) -> int:
    return np.iinfo(dtype).max


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the file in the message of every failure."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except MemoryError:
        raise
    except OSError as error:
        reason = error.strerror or f"damaged or cut short ({error})"
        raise PictureError(f"{name}: {reason}") from error
    except Exception as error:  # decoders raise anything on damaged bytes
        reason = " ".join(str(error).split())
        raise PictureError(f"{name}: damaged or cut short ({reason})") from error


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "a folder, not a picture"
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere or in a circle"
    return "not a regular file" if path.exists() else "no such file"


def _open(stream: BinaryIO) -> Source:
    start = stream.read(_START)
    if not start:
        raise PictureError("empty file")
    stream.seek(0)
    for known in FORMATS:
        if known.matches(start):
            return known.open(stream)
    names = ", ".join(known.name for known in FORMATS[:-1])
    raise PictureError(f"not a picture in a known format ({names} or {FORMATS[-1].name})")


def _check_size(header: PictureHeader, max_pixels: int) -> None:
    height, width = header.height, header.width
    if not height or not width:
        raise PictureError(f"zero-sized ({width} x {height} pixels)")
    if height * width > max_pixels:
        raise PictureError(
            f"{width} x {height} = {height * width} pixels are more than the limit of "
            f"{max_pixels}; raise it with --max-pixels (max_pixels=) if you trust the file"
        )


def _container_for(path: Path, header: PictureHeader) -> Format:
    suffix = path.suffix.lower()
    container = next((known for known in FORMATS if suffix in known.suffixes), None)
    if container is None or container.write is None:
        reason = (
            f"{container.name} is only read" if container else "the suffix names no known format"
        )
        raise PictureError(f"{path}: {reason}; use one of {', '.join(SUFFIXES)}")
    if header.dtype.name not in container.depths:
        raise PictureError(
            f"{path}: {container.name} cannot hold {header.dtype} samples; "
            f"write a {'TIFF' if header.dtype.kind == 'f' else 'PNG or TIFF'}"
        )
    if header.has_alpha and not container.alpha:
        raise PictureError(
            f"{path}: {container.name} cannot hold the alpha channel; write a PNG, TIFF or WebP"
        )
    if max(header.height, header.width) > container.max_side:
        raise PictureError(
            f"{path}: {container.name} holds at most {container.max_side} pixels a side, "
            f"not {header.width} x {header.height}; write a PNG or TIFF"
        )
    return container
