import importlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("protocols")
    monkeypatch.delitem(sys.modules, "protocols")
    return module


def test_degraded_images_are_scored_beside_what_papers_state(module, tmp_path):
    shades = np.linspace(40, 200, 24 * 36 * 3).reshape(24, 36, 3).astype(np.uint8)
    for name in {name for name, *_ in module.PUBLISHED}:
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), shades)
    done = CliRunner().invoke(module.main, ["--data", str(tmp_path), "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "protocols.json").read_text())["rows"]
    assert [row["published (dB)"] for row in rows] == [row[3] for row in module.PUBLISHED]
    by_quality = [row["PSNR (dB)"] for row in rows if row["data"] == "classic5"]
    assert by_quality == sorted(by_quality)
    mosaic = next(row for row in rows if row["protocol"] == "Bayer mosaic")
    kept = (
        shades[..., ::-1]
        * (np.eye(3, dtype=int)[np.add.outer(np.arange(24) % 2, np.arange(36) % 2)])
    )
    error = np.mean((kept - shades[..., ::-1].astype(float)) ** 2)
    assert mosaic["PSNR (dB)"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
