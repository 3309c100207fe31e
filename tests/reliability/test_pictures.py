"""Damaged pictures: whatever the bytes are, reading ends soon, in words, with little memory."""

import io
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from keras_rdanet.image.io import read_picture

MUTATIONS = 60  # of each file
SECONDS, BYTES = 1.0, 60_000_000
SEED = 20_260


def picture(channels=3, size=(23, 31)):
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.stack([x * 5, y * 7, x * y, x + y], axis=-1)[..., :channels]
    return (waves % 256).astype(np.uint8)


def encoded(container, image, **options):
    stream = io.BytesIO()
    image.save(stream, container, **options)
    return stream.getvalue()


def tiff(samples, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, photometric="rgb", rowsperstrip=5, **options)
    return stream.getvalue()


def exif():
    block = Image.Exif()
    block[274], block[271] = 6, "Maker"
    block.get_ifd(0x8769).update({0xA002: 31, 0xA003: 23, 0x927C: bytes(range(90))})
    return block.tobytes()


def files():
    """One small file of every format and way of storing pixels."""
    rgb, rgba = Image.fromarray(picture(3)), Image.fromarray(picture(4))
    palette = rgb.quantize(11)
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    more = {"exif": exif(), "icc_profile": bytes(300), "xmp": xmp}
    found = {
        "JPEG": encoded("JPEG", rgb, **more),
        "progressive JPEG": encoded("JPEG", rgb, progressive=True),
        "PNG": encoded("PNG", rgb, exif=exif(), icc_profile=bytes(300)),
        "PNG with alpha": encoded("PNG", rgba),
        "PNG of a palette": encoded("PNG", palette, transparency=bytes([0, 9, 255])),
        "PNG of 1 bit": encoded("PNG", rgb.convert("1")),
        "WebP": encoded("WEBP", rgb, lossless=True, **more),
        "lossy WebP": encoded("WEBP", rgba, quality=60),
        "BMP": encoded("BMP", rgb),
        "BMP of a palette": encoded("BMP", palette),
        "GIF": encoded("GIF", palette),
        "animated GIF": encoded("GIF", palette, save_all=True, append_images=[rgb.quantize(4)]),
        "TIFF": tiff(picture(3)),
        "deflated TIFF": tiff(picture(3), compression="zlib", predictor=True),
        "tiled TIFF": tiff(picture(3), tile=(16, 16), compression="zlib"),
        "BigTIFF": tiff(picture(3).astype(np.uint16), bigtiff=True, byteorder=">"),
        "LZW TIFF": encoded("TIFF", rgb, compression="tiff_lzw"),
        "TIFF with EXIF": encoded("TIFF", rgb, exif=exif()),
        "PackBits TIFF": encoded("TIFF", rgb, compression="packbits"),
        "fax TIFF": encoded("TIFF", rgb.convert("1"), compression="group4"),
        "JPEG in TIFF": encoded("TIFF", rgb, compression="jpeg"),
    }
    if features.check("avif"):
        found["AVIF"] = encoded("AVIF", rgb)
    return found


def mutated(data, rng):
    """Flip, cut, repeat, blank or overwrite some of the bytes, most often near the start."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        size = len(data)
        place = int(size * rng.random() ** rng.integers(1, 5))
        length = int(rng.integers(1, 40))
        kind = rng.integers(7)
        if kind == 0:
            data[place] ^= 1 << rng.integers(8)
        elif kind == 1:
            data = data[: max(place, 1)]
        elif kind == 2:
            data[place : place + length] = rng.bytes(length)
        elif kind == 3:
            data[place:] = bytes(size - place)
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            del data[place : place + length]
        else:
            data[place : place + 4] = [b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)][rng.integers(3)]
        data = data or bytearray(b"\0")
    return bytes(data)


def attempt(path):
    """Read a file; return what was said, and the seconds and bytes that it took."""
    words = ""
    tracemalloc.start()
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_picture(path, max_pixels=1_000_000)
    except (ValueError, OSError) as error:
        words = str(error)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return words, seconds, peak


@pytest.mark.parametrize("name", files())
def test_mutated_pictures_are_read_or_refused_in_words(tmp_path, name):
    data = files()[name]
    path = tmp_path / "a"
    path.write_bytes(data)
    assert attempt(path)[0] == ""
    rng = np.random.default_rng([SEED, *name.encode()])
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(data, rng))
        words, seconds, peak = attempt(path)
        assert words == "" or words.startswith(str(path))
        assert "\n" not in words
        assert seconds < SECONDS
        assert peak < BYTES
