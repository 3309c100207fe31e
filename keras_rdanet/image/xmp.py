"""The edits that XMP needs when a picture has been turned, enlarged or written without a trailer.

XMP is edited as text: parsing and writing it anew would move what other
programs look for at fixed places, and change what needs no change.
"""

import re

_TIFF, _EXIF = b"http://ns.adobe.com/tiff/1.0/", b"http://ns.adobe.com/exif/1.0/"
# Namespace -> its usual prefix, and names of properties (all of them if there is none).
_Properties = dict[bytes, tuple[bytes, tuple[bytes, ...]]]
_ABOUT_TRAILERS: _Properties = {
    b"http://ns.google.com/photos/1.0/camera/": (
        b"GCamera",
        (rb"MotionPhoto\w*", rb"MicroVideo\w*"),
    ),
    b"http://ns.google.com/photos/1.0/container/": (b"Container", ()),
    b"http://ns.google.com/photos/1.0/depthmap/": (b"GDepth", ()),
    b"http://ns.google.com/photos/1.0/image/": (b"GImage", ()),
    b"http://ns.google.com/photos/1.0/audio/": (b"GAudio", ()),
    b"http://ns.google.com/photos/dd/1.0/device/": (b"Device", ()),
    b"http://ns.adobe.com/hdr-gain-map/1.0/": (b"hdrgm", ()),
    b"http://ns.apple.com/HDRGainMap/1.0/": (b"HDRGainMap", ()),
    b"http://ns.apple.com/pixeldatainfo/1.0/": (b"apdi", ()),
    b"http://ns.adobe.com/xmp/note/": (b"xmpNote", (rb"HasExtendedXMP",)),
}
_THUMBNAILS: _Properties = {b"http://ns.adobe.com/xap/1.0/": (b"xmp", (b"Thumbnails",))}
_SPATIAL: _Properties = {
    _TIFF: (b"tiff", (b"XResolution", b"YResolution")),
    _EXIF: (b"exif", (b"SubjectArea", b"SubjectLocation", rb"FocalPlane[XY]Resolution")),
    b"http://www.metadataworkinggroup.com/schemas/regions/": (b"mwg-rs", (b"Regions",)),
    b"http://ns.microsoft.com/photo/1.2/": (b"MP", (b"RegionInfo",)),
    b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/": (b"Iptc4xmpExt", (b"ImageRegion",)),
    b"http://ns.google.com/photos/1.0/panorama/": (b"GPano", ()),
}
_STATED = rb"(?:\s{0,9}=\s{0,9}[\"']\s{0,9}|(?:\s[^<>]{0,200})?>\s{0,9})"


def upright(xmp: bytes) -> bytes:
    """Set `tiff:Orientation`, which some programs believe before EXIF, to 1."""
    name = _pattern(xmp, {_TIFF: (b"tiff", (b"Orientation",))})
    return re.sub(rb"((?:%s)%s)[2-8](?!\d)" % (name, _STATED), rb"\g<1>1", xmp)


def resized(xmp: bytes, height: int, width: int) -> bytes:
    """Set the size in pixels wherever XMP states it."""
    for value, tiff_name, exif_name in (
        (width, b"ImageWidth", b"PixelXDimension"),
        (height, b"ImageLength", b"PixelYDimension"),
    ):
        name = _pattern(xmp, {_TIFF: (b"tiff", (tiff_name,)), _EXIF: (b"exif", (exif_name,))})
        xmp = re.sub(rb"((?:%s)%s)\d+" % (name, _STATED), rb"\g<1>%d" % value, xmp)
    return xmp


def without_trailers(xmp: bytes) -> tuple[bytes, list[str]]:
    """Leave out what speaks of data outside the packet that is not written again.

    These are videos, gain maps and depth maps behind a JPEG, and extended XMP.
    Thumbnails, which show the unrestored picture, go as well, without being named.

    Returns:
        The packet, and the names of the properties left out.
    """
    xmp, _ = _without(xmp, _THUMBNAILS)
    return _without(xmp, _ABOUT_TRAILERS)


def without_places(xmp: bytes) -> tuple[bytes, list[str]]:
    """Leave out what speaks of places and distances in pixels.

    Returns:
        The packet, and the names of the properties left out.
    """
    return _without(xmp, _SPATIAL)


def _pattern(xmp: bytes, properties: _Properties) -> bytes:
    """Return what matches the names of properties with the prefixes that the packet gives them."""
    bound = re.findall(rb"xmlns:([\w.-]{1,64})\s{0,9}=\s{0,9}[\"']([^\"'<>]{1,256})[\"']", xmp)
    patterns = []
    for uri, (usual, names) in properties.items():
        prefixes = {usual} | {prefix for prefix, found in bound if found == uri}
        prefix = b"|".join(map(re.escape, sorted(prefixes)))
        patterns.append(rb"(?:%s):(?:%s)" % (prefix, b"|".join(names) or rb"[\w.-]{1,64}"))
    return b"|".join(patterns)


def _without(xmp: bytes, properties: _Properties) -> tuple[bytes, list[str]]:
    pattern = _pattern(xmp, properties)
    left_out: list[str] = []

    def note(name: bytes) -> None:
        left_out.append(name.decode("ascii", "replace"))

    attribute = re.compile(rb"\s(%s)\s{0,9}=\s{0,9}(?:\"[^\"<]*\"|'[^'<]*')" % pattern)

    def drop(match: re.Match[bytes]) -> bytes:
        note(match[1])
        return b""

    # Elements first: the properties of a structure are attributes of its parts.
    opening = re.compile(rb"<(%s)(?:\s[^<>]*)?>" % pattern)
    kept, position = bytearray(), 0
    while match := opening.search(xmp, position):
        end = match.end()
        if not match[0].endswith(b"/>"):
            closing = re.compile(rb"</%s\s*>" % re.escape(match[1])).search(xmp, end)
            if closing is None:
                break  # damaged, and readers will not parse it
            end = closing.end()
        note(match[1])
        kept += xmp[position : match.start()]
        position = end
    kept += xmp[position:]
    return attribute.sub(drop, bytes(kept)), sorted(set(left_out))
