import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def device(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import device

    return device


def test_results_carry_rows_command_and_versions(device, tmp_path):
    rows = [{"tile": 256, "psnr": 28.123456}, {"tile": "off", "psnr": 28.5}]
    device.write_results(
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


def test_table_may_arrange_the_rows_otherwise(device, tmp_path):
    arguments = {"title": "T", "command": "c", "folder": tmp_path}
    device.write_results("t", [{"a": 1}, {"a": 2}], table=[{"both": "1 and 2"}], **arguments)
    assert len(json.loads((tmp_path / "t.json").read_text())["rows"]) == 2
    assert "| 1 and 2 |" in (tmp_path / "t.md").read_text()
