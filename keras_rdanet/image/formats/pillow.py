"""Helpers of the formats that Pillow decodes: pictures of 8 bits."""

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from keras_rdanet.image.exif import orientation, with_prefix
from keras_rdanet.image.picture import Metadata, PictureError, PictureHeader, Source

_ROWS = 256


def opened(kind: type[ImageFile.ImageFile], stream: BinaryIO) -> ImageFile.ImageFile:
    """Open a picture with one plugin of Pillow, as far as its header.

    Not `Image.open`, which tries every format it knows and has a pixel limit of its own.

    Raises:
        PictureError: if the header is damaged.
    """
    stream.seek(0)
    try:
        return kind(stream)
    except SyntaxError as error:
        raise PictureError(f"zero-sized, or its header is damaged ({error})") from error


def source(
    image: ImageFile.ImageFile,
    metadata: Callable[[], Metadata] | None = None,
    remark: str = "",
) -> Source:
    """Wrap an image that Pillow has opened but not decoded.

    Args:
        image: The image.
        metadata: Collects the metadata; without it, EXIF, ICC profile and XMP are those
            that Pillow has found.
        remark: Remark of the `Source`.

    Raises:
        PictureError: if its colours are neither gray nor RGB.
    """
    mode = _plain_mode(image)
    header = PictureHeader(
        image.height,
        image.width,
        channels=1 if mode in ("L", "LA") else 3,
        dtype=np.dtype(np.uint8),
        has_alpha=mode.endswith("A"),
    )
    # Before the pixels are decoded: Pillow turns some pictures itself, and changes this then.
    exif, icc, packet = (image.info.get(key) for key in ("exif", "icc_profile", "xmp"))
    block = with_prefix(exif)
    return Source(
        header,
        orientation(block),
        pixels=lambda: to_array(image if image.mode == mode else image.convert(mode)),
        metadata=metadata or (lambda: Metadata(exif=block, icc=icc or None, xmp=packet or None)),
        remark=remark,
    )


def to_image(pixels: np.ndarray) -> Image.Image:
    """Return `(H, W, 1 to 4)` uint8 pixels as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def to_array(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as `(H, W, 1 to 4)` uint8 pixels.

    By strips: Pillow keeps 4 bytes for an RGB pixel, and `np.asarray` would
    hold two more copies of the whole picture on top.
    """
    image.load()
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, _ROWS):
        strip = pixels[top : top + _ROWS]
        rows = image.crop((0, top, image.width, top + len(strip)))
        strip[...] = np.asarray(rows).reshape(strip.shape)
    return pixels


def three_channels(pixels: np.ndarray) -> np.ndarray:
    """Repeat gray, for formats that hold colours only; alpha stays."""
    if pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, axis=-1)
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[-1] == 2 else pixels


def _plain_mode(image: ImageFile.ImageFile) -> str:
    has_alpha = "transparency" in image.info
    if image.mode in ("1", "L"):
        return "LA" if has_alpha else "L"
    if image.mode == "RGB":
        return "RGBA" if has_alpha else "RGB"
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        # A profile, which is of RGB here, would not fit gray.
        gray = "icc_profile" not in image.info and (palette == palette[:, :1]).all()
        return ("L" if gray else "RGB") + ("A" if has_alpha else "")
    if image.mode in ("LA", "RGBA"):
        return image.mode
    raise PictureError(f"its colours are {image.mode}; convert it to RGB or gray first")
