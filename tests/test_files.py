import os

import pytest

from keras_rdanet.files import replacing


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


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError), replacing(tmp_path / "no" / "a.txt"):
        pass
