"""A picture as a file holds it: samples, alpha and what came with them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

DEPTHS = ("uint8", "uint16", "float32")


class PictureError(ValueError):
    """A picture that cannot be read, or that a container cannot hold; one clear line."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture.

    Args:
        exif: EXIF as it stands in a JPEG, from `b"Exif\\0\\0"` on. Its orientation is 1,
            because samples are upright, and it holds no thumbnail of the unrestored picture.
        icc: ICC profile, byte for byte.
        xmp: XMP packet, UTF-8.
        dpi: Horizontal and vertical resolution in pixels per inch.
        premultiplied: Whether the samples are multiplied by alpha (some TIFFs).
        png_color: Chunks of a PNG that define its colours without a profile
            (`gAMA`, `cHRM`, `sRGB`, `cICP`, ...), as `(name, content)`.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    premultiplied: bool = False
    png_color: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class PictureHeader:
    """What the header of a picture file says: sizes in pixels, channels (1 or 3), depth."""

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
        metadata: What else the file said.

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
    """

    header: PictureHeader
    orientation: int
    pixels: Callable[[], np.ndarray]
    metadata: Callable[[], Metadata]
