"""A picture as a file holds it: samples, alpha and what came with them; and what a format is."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

DEPTHS = ("uint8", "uint16", "float32")
# The most bytes of one field of metadata, and of what it inflates to.
MAX_FIELD = 1 << 26
# Fields of `Metadata` that more than one format holds, and what warnings call them.
FIELDS = {
    "exif": "EXIF",
    "icc": "ICC profile",
    "xmp": "XMP",
    "dpi": "resolution",
    "density": "resolution without a unit",
    "photoshop": "IPTC and other resources of Photoshop",
}


class PictureError(ValueError):
    """A picture that cannot be read, or that a format cannot hold; one clear line."""


@dataclass(frozen=True)
class Extra:
    """A field of metadata that a single format can hold, or that no format can.

    Args:
        name: Name of the field in warnings.
        home: The name of the format that can write the field, or `""` if none can.
        key: The chunk, marker or tag in which the field stands there.
        content: The bytes of the field.
        spatial: Whether the field speaks of places or sizes in pixels, so that it is
            wrong once the picture has been turned or enlarged.
    """

    name: str
    home: str = ""
    key: Any = None
    content: bytes = b""
    spatial: bool = False


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture file.

    Args:
        exif: EXIF as it stands in a JPEG, from `b"Exif\\0\\0"` on. Its orientation is 1,
            because samples are upright, and it holds no thumbnail of the unrestored picture.
        icc: ICC profile, byte for byte.
        xmp: XMP packet, UTF-8.
        dpi: Horizontal and vertical resolution in pixels per inch.
        density: Horizontal and vertical resolution in pixels per a unit that the file does
            not name, as ImageJ writes it; `None` where `dpi` is known.
        photoshop: Image resources of Photoshop (`8BIM`), in which IPTC stands.
        premultiplied: Whether the samples are multiplied by alpha (some TIFFs).
        extras: Fields that a single format can hold, or that were left out when the
            file was read.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    density: tuple[float, float] | None = None
    photoshop: bytes | None = None
    premultiplied: bool = False
    extras: tuple[Extra, ...] = ()


@dataclass(frozen=True)
class PictureHeader:
    """The header of a picture file: sizes in pixels, channels (1 or 3), depth, alpha."""

    height: int
    width: int
    channels: int
    dtype: np.dtype
    has_alpha: bool


@dataclass(frozen=True)
class Picture:
    """A picture in the depth of its file.

    Args:
        samples: `(H, W, C)`, C 1 (gray) or 3 (RGB), upright; uint8, uint16 or float32.
        alpha: `(H, W)` of the same dtype, or `None`.
        metadata: Metadata of the file.

    Raises:
        ValueError: if shapes or dtypes are none of these.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        samples, alpha = self.samples, self.alpha
        if samples.ndim != 3 or samples.shape[-1] not in (1, 3) or 0 in samples.shape:
            raise ValueError(
                f"`samples` must be (H, W, 1) or (H, W, 3) and not empty, got {samples.shape}"
            )
        if samples.dtype.name not in DEPTHS:
            raise ValueError(f"`samples` must be {' or '.join(DEPTHS)}, got {samples.dtype}")
        if alpha is not None and (alpha.shape, alpha.dtype) != (samples.shape[:2], samples.dtype):
            raise ValueError(
                f"`alpha` must be {samples.shape[:2]} {samples.dtype}, "
                f"got {alpha.shape} {alpha.dtype}"
            )

    @property
    def header(self) -> PictureHeader:
        """Sizes, channels and depth."""
        height, width, channels = self.samples.shape
        return PictureHeader(height, width, channels, self.samples.dtype, self.alpha is not None)


@dataclass(frozen=True)
class Source:
    """An opened file of which only the header has been read.

    Args:
        header: Sizes as stored, before `orientation` is applied.
        orientation: EXIF orientation, 1 to 8.
        pixels: Decodes `(H, W, C)` or, with alpha, `(H, W, C + 1)`.
        metadata: Collects the metadata as stored.
        remark: Remark for the reader of the picture, such as that it is the first frame of
            an animation; `""` for none.
    """

    header: PictureHeader
    orientation: int
    pixels: Callable[[], np.ndarray]
    metadata: Callable[[], Metadata]
    remark: str = ""


@dataclass(frozen=True)
class Format:
    """A format of picture files.

    Args:
        name: Name of the format in messages.
        suffixes: Suffixes of its files, in lower case and with the dot.
        matches: Whether a file that starts with these 16 bytes is of this format.
        open: Reads the header of a file.
        write: Writes `(H, W, C)` pixels with metadata in a JPEG quality, and returns the
            names of the fields that the format could not keep; `None` if files of the
            format are read only.
        depths: Dtypes that it holds.
        alpha: Whether it holds an alpha channel.
        max_side: Largest height and width, in pixels.
        premultiplied: Whether it can say that colours are multiplied by alpha.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO], Source]
    write: Callable[[BinaryIO, np.ndarray, Metadata, int], list[str]] | None = None
    depths: tuple[str, ...] = ()
    alpha: bool = False
    max_side: int = 0
    premultiplied: bool = False


def inflate(compressed: bytes, what: str) -> bytes:
    """Return what a zlib stream holds.

    Raises:
        PictureError: if the stream is damaged, ends early, or holds more than `MAX_FIELD` bytes.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(compressed, MAX_FIELD + 1)
    except zlib.error as error:
        raise PictureError(f"its {what} is damaged ({error})") from error
    if len(content) > MAX_FIELD:
        raise PictureError(f"its {what} is larger than {MAX_FIELD} bytes")
    if not stream.eof:
        raise PictureError(f"its {what} ends early")
    return content


def unkept(metadata: Metadata, home: str, *kept: str) -> list[str]:
    """Name the fields that are there, but not among those that a format keeps.

    Args:
        metadata: The fields.
        home: The name of the format.
        kept: Fields of `FIELDS` that the format keeps.
    """
    names = [name for key, name in FIELDS.items() if key not in kept and getattr(metadata, key)]
    return names + [extra.name for extra in metadata.extras if extra.home != home]
