import io

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import PictureError, probe_size, read_picture, write_picture


def smooth(channels=3):
    y, x = np.mgrid[:48, :64]
    return np.stack([x, y, x + y, 255 - x], axis=-1)[..., :channels].astype(np.uint8)


def avif(channels=3, **options):
    stream = io.BytesIO()
    Image.fromarray(smooth(channels)).save(stream, "AVIF", quality=95, **options)
    return stream.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.avif"


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return str(caught.value)


@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_alpha_and_metadata_are_read(path, tmp_path, channels):
    path.write_bytes(avif(channels, xmp=b"<x/>", icc_profile=bytes(300)))
    picture = read_picture(path)
    assert probe_size(path) == picture.header
    assert np.abs(picture.samples.astype(int) - smooth()).mean() < 3
    assert (picture.alpha is not None) == (channels == 4)
    assert (picture.metadata.xmp, picture.metadata.icc) == (b"<x/>", bytes(300))
    write_picture(tmp_path / "b.png", picture)


def test_orientation_is_applied_once(path, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path.write_bytes(avif(exif=exif.tobytes()))
    picture = read_picture(path)
    assert np.abs(picture.samples.astype(int) - np.rot90(smooth(), -1)).mean() < 3
    write_picture(tmp_path / "b.png", picture)
    assert read_picture(tmp_path / "b.png").header.height == 64


def test_the_first_frame_of_an_animation_is_read_and_that_is_said(path):
    path.write_bytes(avif(save_all=True, append_images=[Image.new("RGB", (64, 48))]))
    with pytest.warns(UserWarning, match="an animation; its first frame is read"):
        picture = read_picture(path)
    assert np.abs(picture.samples.astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize(("flags", "bits"), [(0x40, 10), (0x60, 12)])
def test_more_bits_are_refused_not_cut(path, flags, bits):
    data = bytearray(avif())
    data[data.index(b"av1C") + 6] |= flags
    path.write_bytes(data)
    assert f"an AVIF of {bits} bits is not supported" in refusal(path)


@pytest.mark.parametrize("kept", [20, 100, 300, -1])
def test_cut_files_are_refused(path, kept):
    path.write_bytes(avif()[:kept])
    assert "cut short" in refusal(path)


def test_it_is_read_only(path):
    path.write_bytes(avif())
    with pytest.raises(PictureError, match="AVIF is only read"):
        write_picture(path, read_picture(path))
