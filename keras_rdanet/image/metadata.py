"""The rule of metadata: what is kept, what changes with the pixels, what is dropped with a warning.

A field is copied byte for byte; or changed because the pixels changed; or left out, and
then named in a warning when the picture is written (docs/metadata.md).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

from keras_rdanet.image import xmp
from keras_rdanet.image.exif import ORIENTATION, X_RESOLUTION, Y_RESOLUTION, Editor
from keras_rdanet.image.picture import Extra, Metadata

_FOCAL_PLANE_X_RESOLUTION, _FOCAL_PLANE_Y_RESOLUTION = 0xA20E, 0xA20F
_SIZES = ((256, 257), (0xA002, 0xA003))  # width and height in IFD0 and in EXIF
_PLACES = {0x9214: "EXIF SubjectArea", 0xA214: "EXIF SubjectLocation"}
_PHOTOSHOP_THUMBNAILS_AND_COPIES = {1033, 1036, 1058, 1059, 1060}
_MAX_XMP = 1 << 22
_PHOTOSHOP_IPTC = {1028, 1061}


def upright(metadata: Metadata, orientation: int, height: int, width: int) -> Metadata:
    """Return the metadata of a picture whose samples have been turned upright.

    Thumbnails are dropped, because they show the unrestored picture. Fields about data behind
    the picture are dropped, because that data is not written again.

    Args:
        metadata: The metadata as stored.
        orientation: The EXIF orientation that has been applied, 1 to 8.
        height: Height of the upright picture, in pixels.
        width: Width of the upright picture, in pixels.
    """
    exif, packet = metadata.exif, metadata.xmp
    left_out: list[str] = []
    if exif:
        editor = Editor(exif)
        editor.set_number(editor.main, ORIENTATION, 1)
        editor.drop_thumbnail()
        exif = editor.exif
    if packet and len(packet) > _MAX_XMP:
        packet, left_out = None, [f"of more than {_MAX_XMP} bytes"]
    elif packet:
        packet, left_out = xmp.without_trailers(xmp.upright(packet))
    resources = _resources_where(
        metadata.photoshop, lambda number: number not in _PHOTOSHOP_THUMBNAILS_AND_COPIES
    )
    metadata = replace(
        metadata,
        exif=exif,
        xmp=packet,
        photoshop=resources,
        extras=metadata.extras + tuple(Extra(f"XMP {name}") for name in left_out),
    )
    if orientation == 1:
        return metadata
    return _reshaped(metadata, height, width, swapped=orientation >= 5, scale=1)


def enlarged(metadata: Metadata, scale: int, height: int, width: int) -> Metadata:
    """Return the metadata of a picture that has been enlarged.

    Args:
        metadata: The metadata of the picture before.
        scale: Factor by which height and width have grown.
        height: Height of the enlarged picture, in pixels.
        width: Width of the enlarged picture, in pixels.
    """
    return _reshaped(metadata, height, width, swapped=False, scale=scale)


def recolored(metadata: Metadata) -> Metadata:
    """Leave out the profile of a gray picture that has become RGB, by name."""
    if metadata.icc is None:
        return metadata
    return replace(metadata, icc=None, extras=(*metadata.extras, Extra("ICC profile of gray")))


def _reshaped(
    metadata: Metadata, height: int, width: int, *, swapped: bool, scale: int
) -> Metadata:
    exif, packet = metadata.exif, metadata.xmp
    left_out: list[str] = []
    if exif:
        editor = Editor(exif)
        for directory, tags in zip((editor.main, editor.details), _SIZES, strict=True):
            for tag, value in zip(tags, (width, height), strict=True):
                editor.set_number(directory, tag, value)
        for directory, x, y in (
            (editor.main, X_RESOLUTION, Y_RESOLUTION),
            (editor.details, _FOCAL_PLANE_X_RESOLUTION, _FOCAL_PLANE_Y_RESOLUTION),
        ):
            editor.reshape_fractions(directory, x, y, swapped, scale)
        left_out += [_PLACES[tag] for tag in editor.remove(_PLACES)]
        exif = editor.exif
    if packet:
        packet, names = xmp.without_places(xmp.resized(packet, height, width))
        left_out += [f"XMP {name}" for name in names]
    resources = _resources_where(metadata.photoshop, _PHOTOSHOP_IPTC.__contains__)
    if resources != metadata.photoshop:
        left_out.append("Photoshop resources")
    stay = tuple(extra for extra in metadata.extras if not extra.spatial)
    left_out += [extra.name for extra in metadata.extras if extra.spatial]
    return replace(
        metadata,
        exif=exif,
        xmp=packet,
        dpi=_turned(metadata.dpi, swapped, scale),
        density=_turned(metadata.density, swapped, scale),
        photoshop=resources,
        extras=stay + tuple(Extra(name) for name in left_out),
    )


def _turned(values, swapped: bool, scale: int):
    if values is None:
        return None
    x, y = reversed(values) if swapped else values
    return (x * scale, y * scale)


def _resources_where(block: bytes | None, stays: Callable[[int], bool]) -> bytes | None:
    found = list(_resources(block))
    if all(stays(number) for number, _ in found):
        return block
    return b"".join(part for number, part in found if stays(number)) or None


def _resources(block: bytes | None) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each image resource of Photoshop, up to the first damaged one."""
    block, start = block or b"", 0
    while block[start : start + 4] == b"8BIM" and start + 12 <= len(block):
        (number,) = struct.unpack_from(">H", block, start + 4)
        name = block[start + 6] + 1
        position = start + 6 + name + name % 2
        if position + 4 > len(block):
            return
        (length,) = struct.unpack_from(">I", block, position)
        end = position + 4 + length
        if end > len(block):
            return
        end = min(end + length % 2, len(block))
        yield number, block[start:end]
        start = end
