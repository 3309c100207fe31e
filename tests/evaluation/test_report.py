import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.evaluation.report import markdown_table, text_table, write_results
from keras_rdanet.files import write_json, write_text
from keras_rdanet.profiling import environment


def test_environment_names_versions_without_loading_tensorflow():
    code = (
        "import sys, json; from keras_rdanet.profiling import environment;"
        "print(json.dumps(environment())); assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    described = json.loads(output)
    assert described["versions"]["numpy"] == np.__version__
    assert described["cores"] >= 1
    assert described["cpu"]


def test_environment_lists_no_gpu_where_tensorflow_sees_none():
    import tensorflow as tf

    assert len(environment()["gpus"]) == len(tf.config.list_physical_devices("GPU"))


def test_table_has_every_column_once_and_empty_cells():
    table = markdown_table([{"image": "a|b", "psnr": 28.3456}, {"image": "c", "seconds": 12345.6}])
    assert table.splitlines() == [
        "| image | psnr | seconds |",
        "| --- | --- | --- |",
        "| a\\|b | 28.35 |  |",
        "| c |  | 12346 |",
    ]


def test_json_holds_numpy_numbers_and_infinity(tmp_path):
    path = tmp_path / "new" / "scores.json"
    write_json(path, {"psnr": np.float32(1.5), "best": np.inf, "path": Path("a"), "n": np.int64(3)})
    assert json.loads(path.read_text()) == {"psnr": 1.5, "best": "inf", "path": "a", "n": 3}


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "scores.md"
    write_text(path, "old")
    with pytest.raises(TypeError):
        write_json(path, {"score": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["scores.md"]
    assert path.read_text() == "old"


def test_text_table_is_aligned():
    table = text_table([{"image": "long name", "psnr": 28.3456}, {"image": "c", "s": 3}])
    assert table.splitlines() == ["image       psnr  s", "long name  28.35", "c                 3"]


def test_results_carry_rows_command_and_versions(tmp_path):
    rows = [{"tile": 256, "psnr": 28.123456}, {"tile": "off", "psnr": 28.5}]
    write_results(
        "tiles",
        rows,
        title="Tiles",
        command="python t.py",
        notes="More is better.",
        folder=tmp_path,
    )
    stored = json.loads((tmp_path / "tiles.json").read_text())
    assert stored["rows"] == rows
    assert stored["command"] == "python t.py"
    assert stored["device"]["versions"]["numpy"] == np.__version__
    text = (tmp_path / "tiles.md").read_text()
    assert text.startswith("# Tiles\n\n`python t.py`\n\n| tile | psnr |")
    assert "| 256 | 28.12 |" in text
    assert "More is better." in text
    assert f"numpy {np.__version__}" in text
    assert str(stored["device"]["cores"]) in text


def test_table_may_arrange_the_rows_otherwise(tmp_path):
    arguments = {"title": "T", "command": "c", "folder": tmp_path}
    write_results("t", [{"a": 1}, {"a": 2}], table=[{"both": "1 and 2"}], **arguments)
    assert len(json.loads((tmp_path / "t.json").read_text())["rows"]) == 2
    assert "| 1 and 2 |" in (tmp_path / "t.md").read_text()
