import contextlib
import json
import os
import resource
import socket
import zlib

import numpy as np
import pytest

from keras_rdanet import files
from keras_rdanet.files import (
    open_regular,
    read_json,
    reading,
    replacing,
    replacing_folder,
    working_folder,
)
from keras_rdanet.image.io import SUFFIXES, Picture, read_picture, write_picture
from keras_rdanet.training.callbacks import write_history
from keras_rdanet.weights.store import write_tensors


@contextlib.contextmanager
def no_file_longer_than(size):
    """What a full disk does to a long file, the system does beyond this limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_target_appears_whole_with_ordinary_permissions(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "new"
    other = tmp_path / "b.txt"
    other.touch()
    assert target.stat().st_mode == other.stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        raise RuntimeError(temporary.write_text("half"))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_missing_folder_is_an_os_error_that_names_the_file(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"cannot write .*a\.txt: there is no folder .*no"),
        replacing(tmp_path / "no" / "a.txt"),
    ):
        pass


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_is_not_a_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(OSError, match=r"cannot write .*pipe\.txt: it is not a regular file"):
        files.write_text(tmp_path / "pipe.txt", "text")
    assert os.listdir(tmp_path) == ["pipe.txt"]


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


WRITERS = {
    **{
        f"picture{suffix}": lambda path: write_picture(path, Picture(noise((60, 60, 3))))
        for suffix in SUFFIXES
    },
    "deep.png": lambda path: write_picture(path, Picture(noise((60, 60, 3)).astype(np.uint16))),
    "weights.safetensors": lambda path: write_tensors(path, {"a": np.ones((60, 60))}, {}),
    "report.json": lambda path: files.write_json(path, {"text": "x" * 5000}),
    "history.csv": lambda path: write_history(path, [{"step": i} for i in range(3000)]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_names_file_and_cause(tmp_path, name):
    target = tmp_path / name
    target.write_bytes(b"old")
    with (
        pytest.raises(OSError, match=f"cannot write .*{name}: file too large"),
        no_file_longer_than(2000),
    ):
        WRITERS[name](target)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]
    WRITERS[name](target)
    assert target.stat().st_size > 2000


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    for content in ("one", "two"):
        with replacing_folder(target) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "a.txt").write_text(content)
        assert (target / "sub" / "a.txt").read_text() == content
    with pytest.raises(RuntimeError), replacing_folder(target) as folder:
        raise RuntimeError((folder / "half").write_text("three"))
    assert (target / "sub" / "a.txt").read_text() == "two"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.timeout(20)
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero"):
            with pytest.raises(OSError, match=f"{name} is not a regular file"):
                open_regular(name)
    with pytest.raises(OSError, match="loop"):
        open_regular(tmp_path / "loop")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        open_regular(tmp_path)


@pytest.mark.parametrize(
    "error", [KeyError("x"), zlib.error("x"), OverflowError(), RecursionError(), OSError("x")]
)
def test_what_a_parser_raises_becomes_one_line_that_names_the_file(error):
    with (
        pytest.raises(ValueError, match=r"a\.bin is damaged or not a test: \S"),
        reading("a.bin", "a test"),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "no", "b"), ImportError("x"), ValueError("a.bin: it is short")]
)
def test_errors_that_say_enough_pass_a_reader(error):
    with pytest.raises(type(error)) as caught, reading("a.bin", "a test"):
        raise error
    assert caught.value is error


def test_a_disk_that_cannot_be_read_is_named():
    with pytest.raises(OSError, match=r"a\.bin") as caught, reading("a.bin", "a test"):
        raise OSError(5, "Input/output error")
    assert caught.value.errno == 5


def test_memory_that_a_file_asks_for_is_not_had():
    with pytest.raises(ValueError, match=r"a\.bin .*more memory"), reading("a.bin", "a test"):
        raise MemoryError


def test_a_damaged_json_file_is_named(tmp_path):
    files.write_json(tmp_path / "a.json", {"one": [1, np.float32(2), float("inf")]})
    assert read_json(tmp_path / "a.json") == {"one": [1, 2, "inf"]}
    for text in ("{", "[" * 100_000, "9" * 5000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match=r"a\.json is damaged"):
            read_json(tmp_path / "a.json")


def test_names_that_are_not_unicode_do_not_break_a_report(tmp_path):
    files.write_json(tmp_path / "a.json", {"file": "a\udcff.png"})
    assert json.loads((tmp_path / "a.json").read_text())["file"] == "a\udcff.png"


def test_control_characters_are_escaped():
    assert files.one_line("a\nb\x1b[2J\u2028ü 猫\n") == r"a\nb\x1b[2J\u2028ü 猫"


def test_a_written_picture_reads_back(tmp_path):  # the stream has no descriptor
    picture = Picture(noise((60, 60, 3)))
    write_picture(tmp_path / "a.tif", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").samples, picture.samples)


def test_a_working_folder_is_gone_when_the_work_is_done(tmp_path):
    with pytest.raises(RuntimeError), working_folder(tmp_path) as folder:
        raise RuntimeError((folder / "half").write_text("text"))
    assert list(tmp_path.iterdir()) == []
