"""The rule of docs/metadata.md, over every pair of formats."""

import io
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_rdanet.image.io import Metadata, read_picture, write_picture
from keras_rdanet.image.metadata import enlarged, recolored
from keras_rdanet.image.picture import Extra

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp"}
ICC = bytes(16) + b"RGB " + bytes(range(200))
IPTC = b"8BIM\4\4\0\0\0\0\0\6\x1c\2\5\0\1a"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="caf\xc3\xa9"'
    b' tiff:Orientation="%d"><exif:PixelXDimension>%d</exif:PixelXDimension>'
    b"<exif:PixelYDimension>%d</exif:PixelYDimension></rdf:Description></x:xmpmeta>"
)
STORED, TURNED = XMP % (6, 24, 16), XMP % (1, 16, 24)
GEO = (33550, "d", 3, (0.5, 0.5, 0.0), True)

# What each format keeps of the fields of `Metadata`, and what it calls home.
KEPT = {
    "JPEG": {"exif", "icc", "xmp", "dpi", "photoshop"},
    "PNG": {"exif", "icc", "xmp", "dpi"},
    "TIFF": {"exif", "icc", "xmp", "dpi", "density", "photoshop"},
    "WebP": {"exif", "icc", "xmp"},
    "BMP": {"dpi"},
}
NAMES = {
    "exif": "EXIF",
    "icc": "ICC profile",
    "xmp": "XMP",
    "dpi": "resolution",
    "density": "resolution without a unit",
    "photoshop": "IPTC and other resources of Photoshop",
}


def exif(stated):
    block = Image.Exif()
    block[0x010F], block[0x0112] = "Maker", stated
    block[18246] = 4  # Rating
    block[40093] = "Zoë".encode("utf-16-le")  # XPAuthor
    block[315] = "Zoë".encode()  # Artist
    block.get_ifd(0x8769).update(
        {
            0x829A: 0.25,
            0xA002: 24,
            0xA003: 16,
            0x9286: b"UNICODE\0\x84\x8c",
            0x927C: bytes(range(99)),
        }
    )
    block.get_ifd(0x8825)[2] = (1.0, 2.0, 3.5)
    return block.tobytes()


def samples():
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def encoded(container, **options):
    stream = io.BytesIO()
    Image.fromarray(samples()).save(stream, container, **options)
    return stream.getvalue()


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def jpeg(stated):
    extra = segment(0xED, b"Photoshop 3.0\0" + IPTC) + segment(0xEB, b"JP\0\1")
    xmp = STORED if stated == 6 else TURNED
    options = {"exif": exif(stated), "icc_profile": ICC, "xmp": xmp, "dpi": (300, 150)}
    return encoded("JPEG", comment=b"a comment", extra=extra, **options)


def png(stated):
    data = encoded("PNG", exif=exif(stated), icc_profile=ICC, dpi=(300, 150))
    xmp = b"XML:com.adobe.xmp\0" + bytes(4) + (STORED if stated == 6 else TURNED)
    more = [
        (b"gAMA", (100_000).to_bytes(4, "big")),
        (b"cICP", bytes([9, 16, 0, 1])),
        (b"tEXt", b"Author\0someone"),
        (b"tIME", bytes(7)),
        (b"iTXt", xmp),
    ]
    return data[:33] + b"".join(chunk(*one) for one in more) + data[33:]


def tiff(stated):
    stream = io.BytesIO()
    tags = [
        (274, "H", 1, stated, True),
        (18246, "H", 1, 4, True),
        (315, "s", 5, "Zoë".encode() + b"\0", True),
        (700, "B", len(STORED), STORED if stated == 6 else TURNED.ljust(len(STORED)), True),
        (34377, "B", len(IPTC), IPTC, True),
        (33723, "B", 5, b"\x1c\2\5\0\0", True),
        GEO,
    ]
    options = {"resolution": (6.15, 3.2), "resolutionunit": "NONE", "iccprofile": ICC}
    tifffile.imwrite(
        stream,
        samples(),
        photometric="rgb",
        extratags=tags,
        software=False,
        metadata=None,
        **options,
    )
    return stream.getvalue()


def webp(stated):
    xmp = STORED if stated == 6 else TURNED
    data = encoded("WEBP", lossless=True, exif=exif(stated), icc_profile=ICC, xmp=xmp)
    data += b"NOTE" + struct.pack("<I", 4) + b"abcd"
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def bmp(stated):
    return encoded("BMP", dpi=(300, 150))


FILES = {"JPEG": jpeg, "PNG": png, "TIFF": tiff, "WebP": webp, "BMP": bmp}


def tags(block):
    """All fields of EXIF but those that a reader and a writer may both add."""
    read = Image.Exif()
    read.load(block)
    found = {tag: value for tag, value in read.items() if tag not in (0x8769, 0x8825)}
    # Orientation 1 is what a missing one says; a TIFF states resolutions there as well.
    found = {tag: value for tag, value in found.items() if tag not in (274, 282, 283, 296)}
    return found, dict(read.get_ifd(0x8769)), dict(read.get_ifd(0x8825))


def written(path, picture):
    """Write a picture; return what is read back and the one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_picture(path, picture)
    assert len(caught) <= 1
    return read_picture(path), str(caught[0].message) if caught else ""


@pytest.mark.parametrize("stated", [1, 6])
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_a_field_is_kept_or_changed_or_named(tmp_path, source, target, stated):
    path = tmp_path / "a"
    path.write_bytes(FILES[source](stated))
    picture = read_picture(path)
    again, warning = written(tmp_path / f"b{SUFFIXES[target]}", picture)
    named = warning.partition("could not keep ")[2].split(", ")
    before, after = picture.metadata, again.metadata
    kept = KEPT[target]
    for field, name in NAMES.items():
        value, read = getattr(before, field), getattr(after, field)
        if value and field in kept:
            assert name not in named
            if field == "exif":
                assert tags(read) == tags(value)
            elif field in ("dpi", "density"):
                assert read == pytest.approx(value, rel=1e-3)
            else:
                assert read == value
        elif value:
            assert name in named
            assert not read
    for extra in before.extras:
        assert (extra in after.extras) == (extra.home == target)
        assert (extra.name in named) == (extra.home != target)
    assert set(named) - {""} <= {*NAMES.values(), *(extra.name for extra in before.extras)}


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "WebP"])
def test_what_is_read_is_byte_for_byte_or_says_upright(tmp_path, source):
    path = tmp_path / "a"
    for stated in (1, 6):
        path.write_bytes(FILES[source](stated))
        metadata = read_picture(path).metadata
        assert metadata.icc == ICC
        assert metadata.xmp.rstrip() == TURNED
        if source != "TIFF":
            block = Image.Exif()
            block.load(metadata.exif)
            sizes = [block.get_ifd(0x8769)[tag] for tag in (0xA002, 0xA003)]
            assert sizes == ([24, 16] if stated == 1 else [16, 24])
            assert block[274] == 1
            if stated == 1:
                assert metadata.exif == exif(1)
        if metadata.dpi and source != "TIFF":
            expected = (300, 150) if stated == 1 else (150, 300)
            assert metadata.dpi == pytest.approx(expected, rel=1e-3)


def test_fields_of_the_file_are_all_seen(tmp_path):
    path = tmp_path / "a"
    seen = {}
    for source, make in FILES.items():
        path.write_bytes(make(1))
        seen[source] = {extra.name for extra in read_picture(path).metadata.extras}
    assert seen == {
        "JPEG": {"comment", "segment APP11 JP"},
        "PNG": {"gAMA", "cICP", "text Author", "tIME"},
        "TIFF": {"IPTC", "GeoTIFF"},
        "WebP": {"chunk NOTE"},
        "BMP": set(),
    }


def test_what_speaks_of_places_is_named_once_the_picture_is_enlarged():
    places = Extra("GeoTIFF", "TIFF", (33550, 12, 3), bytes(24), spatial=True)
    other = Extra("IPTC", "TIFF", (33723, 1, 1), b"a")
    resources = IPTC + b"8BIM\3\xed\0\0\0\0\0\2ab"
    metadata = Metadata(None, ICC, STORED, (300.0, 150.0), None, resources, extras=(places, other))
    changed = enlarged(metadata, 2, 32, 48)
    assert changed.extras == (other, Extra("Photoshop resources"), Extra("GeoTIFF"))
    assert changed.photoshop == IPTC
    assert changed.xmp == XMP % (6, 48, 32)
    assert (changed.dpi, changed.icc) == ((600, 300), ICC)
    assert enlarged(replace(metadata, dpi=None, density=(2.0, 3.0)), 2, 1, 1).density == (4, 6)


def test_thumbnails_of_photoshop_and_its_copies_go_without_a_word(tmp_path):
    thumbnail = b"8BIM\4\x0c\0\0\0\0\0\2ab"
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG", extra=segment(0xED, b"Photoshop 3.0\0" + thumbnail + IPTC)))
    picture = read_picture(path)
    assert picture.metadata.photoshop == IPTC
    assert written(tmp_path / "b.jpg", picture)[1] == ""


def test_the_profile_of_a_gray_picture_that_became_rgb_is_named():
    assert recolored(Metadata(icc=ICC)) == Metadata(extras=(Extra("ICC profile of gray"),))
    assert recolored(Metadata(xmp=b"<x/>")) == Metadata(xmp=b"<x/>")
