import sys

import pytest

from keras_rdanet.cli import main


@pytest.mark.parametrize("verb", ["restore", "convert"])
def test_a_file_that_is_missing_is_named_without_a_number(verb, tmp_path, monkeypatch, capsys):
    arguments = {
        "restore": ["missing.png", "out.png", "--model", "missing.safetensors"],
        "convert": ["missing.npz", "out.safetensors", "--preset", "rdn_cifar"],
    }[verb]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["keras-rdanet", verb, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    said = capsys.readouterr().err
    assert stopped.value.code in (1, 2)
    assert "missing." in said
    assert "Errno" not in said
    assert not list(tmp_path.iterdir())


def test_errors_of_the_system_are_put_into_words():
    error = FileNotFoundError(2, "No such file or directory", "teacher.safetensors")
    assert main._in_words(error) == "teacher.safetensors: no such file or directory"
    assert main._in_words(ValueError("`tile` is wrong")) == "`tile` is wrong"
