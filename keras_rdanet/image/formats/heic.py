"""HEIC of 8 bits, if Pillow has a plugin for it (pillow-heif); it is not written."""

from typing import BinaryIO

from PIL import Image

from keras_rdanet.image.formats import pillow
from keras_rdanet.image.formats.avif import read_header
from keras_rdanet.image.picture import Format, PictureError, Source

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def open_heic(stream: BinaryIO) -> Source:
    """Read the header of an HEIC; the plugin turns it upright itself.

    Raises:
        PictureError: if it is cut short, of more than 8 bits, or there is no plugin.
    """
    read_header(stream)
    image = pillow.opened(_plugin(), stream)
    bits = image.info.get("bit_depth", 8)
    if bits > 8:
        raise PictureError(
            f"an HEIC of {bits} bits is not supported; convert it to a PNG or TIFF of 16 bits first"
        )
    return pillow.source(image)


def _plugin() -> type:
    if "HEIF" not in Image.OPEN:
        try:
            import pillow_heif
        except ImportError:
            raise PictureError(
                "HEIC is read through the package pillow-heif, which is not installed"
            ) from None
        pillow_heif.register_heif_opener()
    return Image.OPEN["HEIF"][0]  # type: ignore[return-value]


FORMAT = Format(
    "HEIC",
    (".heic", ".heif"),
    matches=lambda start: start[4:8] == b"ftyp" and start[8:12] in _BRANDS,
    open=open_heic,
)
