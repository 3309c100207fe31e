import dataclasses
import sys

import numpy as np
import pytest

from keras_rdanet.image.io import Metadata, Picture, PictureError, read_picture, write_picture
from keras_rdanet.inference.file import FileOptions, prepare, restore_file
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from tests.inference.functions import blurring, identity
from tests.inference.functions import random_samples as samples


def blurrer():
    return Restorer(blurring(channels=3, times=1))


def test_a_file_is_restored_and_described(tmp_path):
    picture = Picture(samples(20, 30, 3), metadata=Metadata(icc=b"profile"))
    write_picture(tmp_path / "in.png", picture)
    facts = restore_file(blurrer(), tmp_path / "in.png", tmp_path / "out.png")
    restored = read_picture(tmp_path / "out.png")
    np.testing.assert_array_equal(restored.samples, blurrer().picture(picture).samples)
    assert restored.metadata.icc == b"profile"
    assert (facts["height"], facts["width"]) == (20, 30)
    assert (facts["model"], facts["precision"]) == ("blur", "float32")
    assert facts["seconds"] > 0


def test_options_of_a_file(tmp_path):
    picture = Picture(np.full((64, 64, 1), 128, np.uint8), metadata=Metadata(icc=b"profile"))
    write_picture(tmp_path / "in.png", picture)
    options = FileOptions(strip_metadata=True, add_noise=20, seed=7, estimate_noise=True)
    facts = restore_file(Restorer(identity()), tmp_path / "in.png", tmp_path / "out.png", options)
    noisy = np.rint(128 + 255 * protocol_noise((64, 64, 1), 20, 7).astype(np.float64))
    restored = read_picture(tmp_path / "out.png")
    np.testing.assert_allclose(restored.samples, noisy, atol=1)
    assert restored.metadata.icc is None
    assert facts["sigma"] == pytest.approx(20, rel=0.1)


def test_noise_is_never_added_unasked(tmp_path):
    write_picture(tmp_path / "in.png", Picture(samples(20, 30, 3)))
    restore_file(Restorer(identity(3)), tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "out.png").samples, read_picture(tmp_path / "in.png").samples
    )


def test_compare_shows_before_left_and_after_right(tmp_path):
    picture = Picture(samples(20, 30, 3))
    write_picture(tmp_path / "in.png", picture)
    darker = dataclasses.replace(identity(3), function=lambda images: images / 2)
    compare = tmp_path / "both.png"
    restore_file(Restorer(darker), tmp_path / "in.png", tmp_path / "out.png", compare=compare)
    both = read_picture(compare).samples
    np.testing.assert_array_equal(both[:, :12], picture.samples[:, :12])
    np.testing.assert_allclose(both[:, 18:], picture.samples[:, 18:] / 2, atol=0.51)


def test_enlarged_files_are_described_compared_and_limited(tmp_path):
    def double(images):
        return images.repeat(2, axis=1).repeat(2, axis=2)

    restorer = Restorer(ImageFunction(double, channels=3, name="double", radius=0, scale=2))
    write_picture(tmp_path / "in.png", Picture(samples(20, 30, 3)))
    files = tmp_path / "in.png", tmp_path / "out.png"
    facts = restore_file(restorer, *files, compare=tmp_path / "both.png")
    assert (facts["height"], facts["width"]) == (40, 60)
    assert read_picture(tmp_path / "both.png").samples.shape == (40, 60, 3)
    with pytest.raises(ValueError, match=r"out.png would have 60 x 40 pixels.*--max-pixels"):
        restore_file(restorer, *files, FileOptions(max_pixels=2399))


def test_a_result_too_large_for_its_container_fails_before_the_work(tmp_path):
    def never(images):
        raise AssertionError

    restorer = Restorer(ImageFunction(never, channels=3, name="never", scale=2))
    write_picture(tmp_path / "in.png", Picture(samples(1, 8200, 3)))
    with pytest.raises(PictureError, match="WebP"):
        restore_file(restorer, tmp_path / "in.png", tmp_path / "out.webp")


def test_the_source_is_never_overwritten(tmp_path):
    path = tmp_path / "in.png"
    write_picture(path, Picture(samples(8, 8, 1)))
    (tmp_path / "link.png").symlink_to(path)
    before = path.read_bytes()
    for options in (
        {"target": path},
        {"target": tmp_path / "link.png"},
        {"target": tmp_path / "out.png", "compare": path},
        {"target": tmp_path / "out.png", "compare": tmp_path / "out.png"},
    ):
        with pytest.raises(ValueError, match="different files"):
            restore_file(Restorer(identity()), path, **options)
    assert path.read_bytes() == before
    assert not (tmp_path / "out.png").exists()


def test_a_target_that_cannot_hold_the_picture_fails_before_the_work(tmp_path):
    write_picture(tmp_path / "in.png", Picture(samples(8, 8, 3), samples(8, 8, 1)[..., 0]))

    def never(images):
        raise AssertionError("worked in vain")

    restorer = Restorer(dataclasses.replace(identity(3), function=never))
    with pytest.raises(PictureError, match="JPEG cannot hold the alpha"):
        restore_file(restorer, tmp_path / "in.png", tmp_path / "out.jpg")
    with pytest.raises(OSError, match="no folder"):
        restore_file(restorer, tmp_path / "in.png", tmp_path / "missing" / "out.png")
    with pytest.raises(PictureError, match="limit of 63"):
        prepare(tmp_path / "in.png", tmp_path / "out.png", FileOptions(max_pixels=63)).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_failed_restoration_leaves_the_old_target(tmp_path):
    write_picture(tmp_path / "in.png", Picture(samples(8, 8, 1)))
    (tmp_path / "out.png").write_bytes(b"old")
    broken = dataclasses.replace(identity(), function=lambda images: images * np.float32("nan"))
    with pytest.raises(ValueError, match="not finite"):
        restore_file(Restorer(broken), tmp_path / "in.png", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"old"


def test_a_file_is_opened_once_and_its_function_looked_up_once(tmp_path, monkeypatch):
    write_picture(tmp_path / "in.png", Picture(samples(8, 8, 3)))
    restorer, seen = Restorer(identity(3)), []
    look_up = restorer.function_for
    monkeypatch.setattr(restorer, "function_for", lambda *a: seen.append("function") or look_up(*a))

    def audit(event, arguments):
        by_io = event == "open" and arguments[1] is not None  # not `os.open` beneath it
        if by_io and str(arguments[0]) == str(tmp_path / "in.png"):
            seen.append("open")

    sys.addaudithook(audit)
    restore_file(restorer, tmp_path / "in.png", tmp_path / "out.png")
    assert seen == ["open", "function"]


def test_a_prepared_file_waits_for_its_restorer(tmp_path):
    write_picture(tmp_path / "in.png", Picture(samples(6, 8, 3, np.uint16)))
    with prepare(tmp_path / "in.png", tmp_path / "out.png") as job:
        assert (job.header.height, job.header.width, job.header.dtype) == (6, 8, np.uint16)
        job.restore(Restorer(identity(3)))
    np.testing.assert_array_equal(
        read_picture(tmp_path / "out.png").samples, read_picture(tmp_path / "in.png").samples
    )
