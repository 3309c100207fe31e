import struct
import sys

import pytest

from keras_rdanet.image.io import PictureError, read_picture


def box(kind, content=b""):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_the_package_that_reads_heic_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    path = tmp_path / "a.heic"
    path.write_bytes(box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(4)))
    with pytest.raises(PictureError, match="pillow-heif"):
        read_picture(path)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(40))[:-1])
    with pytest.raises(PictureError, match="cut short"):
        read_picture(path)
