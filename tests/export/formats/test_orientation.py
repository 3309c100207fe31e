import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_rdanet.export.formats.orientation import orientation, upright


@pytest.fixture
def picture():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(coarse.repeat(8, axis=0).repeat(8, axis=1))


def encoded(picture, kind, mode, **options):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    if mode is not None:
        exif[0x0112] = mode
    file = io.BytesIO()
    picture.save(file, kind, exif=exif, **options)
    return file.getvalue()


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def turn(content):
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return upright(image, content)


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def read(content):
    return orientation(content)


def turned(content):
    return turn(tf.constant(content)).numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(picture, kind, mode):
    content = encoded(picture, kind, mode)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    found = turned(content)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 8  # two decoders of JPEG


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_files_without_orientation_stay(picture, kind):
    plain = io.BytesIO()
    picture.save(plain, kind)
    assert turned(plain.getvalue()).shape == (32, 48, 3)
    assert read(encoded(picture, kind, None)) == 1


def test_other_segments_come_before(picture):
    """An ICC profile, and an APP1 of another kind such as XMP."""
    content = encoded(picture, "JPEG", 6, icc_profile=b"x" * 3000)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    assert read(content[:2] + segment + content[2:]) == 6


def test_big_endian_headers_are_read(picture):
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 8, 0) + b"\0" * 4
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=b"Exif\0\0" + tiff)
    assert read(file.getvalue()) == 8


def test_damaged_headers_never_lead_out_of_the_file(picture):
    content = encoded(picture, "JPEG", 6)
    random = np.random.default_rng(1)
    place = content.index(b"Exif")
    for _ in range(200):
        damaged = bytearray(content)
        for index in random.integers(2, place + 60, 3):
            damaged[index] = random.integers(256)
        assert 1 <= read(bytes(damaged)) <= 8
    for end in range(0, place + 60, 5):
        assert 1 <= read(content[:end]) <= 8
