"""Pictures of 8 bits through Pillow: JPEG, BMP, 8-bit PNG, some TIFFs."""

from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin

from keras_rdanet.image import metadata as exif
from keras_rdanet.image.picture import Metadata, PictureError, PictureHeader, Source

_MAX_EXIF, _MAX_XMP = 65_533, 65_502  # of one JPEG segment
_ROWS = 256


def open_jpeg(stream: BinaryIO) -> Source:
    """Read the header of a JPEG; of an MPO, the main picture is all there is."""
    return source(_open(JpegImagePlugin.JpegImageFile, stream))


def open_bmp(stream: BinaryIO) -> Source:
    """Read the header of a BMP."""
    return source(_open(BmpImagePlugin.BmpImageFile, stream))


def source(image: ImageFile.ImageFile) -> Source:
    """Wrap an image that Pillow has opened but not decoded.

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

    def metadata() -> Metadata:
        info = image.info
        return Metadata(
            exif=exif.with_prefix(info.get("exif")),
            icc=info.get("icc_profile"),
            xmp=info.get("xmp"),
            dpi=info.get("dpi"),
        )

    return Source(
        header,
        orientation=exif.orientation(exif.with_prefix(image.info.get("exif"))),
        pixels=lambda: _to_array(image if image.mode == mode else image.convert(mode)),
        metadata=metadata,
    )


def to_image(pixels: np.ndarray) -> Image.Image:
    """Return `(H, W, 1 to 4)` uint8 pixels as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def write_jpeg(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a JPEG without chroma subsampling; return what metadata did not fit."""
    options, dropped = _jpeg_options(metadata)
    to_image(pixels).save(stream, "JPEG", quality=quality, subsampling=0, **options)
    return dropped


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
    to_image(_three_channels(pixels)).save(stream, "WEBP", lossless=True, exact=True, **options)
    return ["ICC profile of gray"] if misfit else []


def write_bmp(stream: BinaryIO, pixels: np.ndarray, metadata: Metadata, quality: int) -> list[str]:
    """Write a BMP; it holds no metadata but the resolution."""
    del quality
    to_image(pixels).save(stream, "BMP", **({"dpi": metadata.dpi} if metadata.dpi else {}))
    found = {"EXIF": metadata.exif, "ICC profile": metadata.icc, "XMP": metadata.xmp}
    return [name for name, value in found.items() if value]


def _open(kind: type[ImageFile.ImageFile], stream: BinaryIO) -> ImageFile.ImageFile:
    # Not Image.open: it tries every format it knows, and has its own pixel limit.
    try:
        return kind(stream)
    except SyntaxError as error:
        raise PictureError(f"zero-sized, or its header is damaged ({error})") from error


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


def _to_array(image: Image.Image) -> np.ndarray:
    # By strips: Pillow keeps 4 bytes for an RGB pixel, and np.asarray would
    # hold two more copies of the whole picture on top.
    image.load()
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, _ROWS):
        strip = pixels[top : top + _ROWS]
        rows = image.crop((0, top, image.width, top + len(strip)))
        strip[...] = np.asarray(rows).reshape(strip.shape)
    return pixels


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, axis=-1)
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[-1] == 2 else pixels


def _jpeg_options(metadata: Metadata) -> tuple[dict, list[str]]:
    options: dict[str, Any] = {}
    dropped = []
    for name, key, value, limit in (
        ("EXIF", "exif", metadata.exif, _MAX_EXIF),
        ("XMP", "xmp", metadata.xmp, _MAX_XMP),
    ):
        if value and len(value) > limit:
            dropped.append(name)
        elif value:
            options[key] = value
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    return options, dropped
