import io
import struct

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import PictureError, probe_size, read_picture, write_picture


def frames(count=1, size=(9, 7)):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4, (count, *size[::-1]), dtype=np.uint8)
    images = [Image.fromarray(frame, "P") for frame in pixels]
    for image in images:
        image.putpalette([10, 20, 30, 250, 0, 1, 7, 7, 7, 90, 80, 70])
    return images


def gif(count=1, **options):
    first, *more = frames(count)
    stream = io.BytesIO()
    if more:
        options |= {"save_all": True, "append_images": more}
    first.save(stream, "GIF", **options)
    return stream.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.gif"


def refusal(path):
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return str(caught.value)


@pytest.mark.filterwarnings("error")
def test_colours_and_transparency_are_read(path):
    path.write_bytes(gif(transparency=1))
    picture = read_picture(path)
    expected = np.asarray(frames()[0].convert("RGB"))
    indices = np.asarray(frames()[0])
    np.testing.assert_array_equal(picture.alpha, np.where(indices == 1, 0, 255))
    np.testing.assert_array_equal(picture.samples[indices != 1], expected[indices != 1])
    assert probe_size(path) == picture.header


def test_the_first_frame_of_an_animation_is_read_and_that_is_said(path):
    path.write_bytes(gif(3))
    with pytest.warns(UserWarning, match=r"a\.gif: an animation; its first frame is read"):
        picture = read_picture(path)
    np.testing.assert_array_equal(picture.samples, np.asarray(frames()[0].convert("RGB")))


def test_a_comment_is_named_when_it_is_lost(path, tmp_path):
    path.write_bytes(gif(comment=b"hello"))
    with pytest.warns(UserWarning, match="PNG could not keep comment"):
        write_picture(tmp_path / "b.png", read_picture(path))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, -1])
def test_cut_files_are_refused(path, kept):
    data = gif()
    path.write_bytes(data[: int(kept * len(data)) if kept > 0 else kept])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize("lost", [8, 20])
def test_pixels_that_end_early_are_refused(path, lost):
    data = gif()
    path.write_bytes(
        data[:-lost] + b"\0;" if lost == 8 else data[: -lost - 2] + bytes(lost) + b"\0;"
    )
    assert "damaged" in refusal(path) or "cut short" in refusal(path)


def test_bombs_are_refused_by_the_header(path):
    data = bytearray(gif())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    path.write_bytes(data)
    assert "--max-pixels" in refusal(path)


def test_too_many_blocks_are_refused(path):
    path.write_bytes(gif()[:-1] + b"\x21\xfe\x01a\0" * 100_001 + b";")
    assert "more than 100000 blocks" in refusal(path)
