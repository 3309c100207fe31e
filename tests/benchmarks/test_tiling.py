import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.inference import open as opening
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.tiling import TILE_MEMORY

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(path, precision):
    """Right for the mean of the whole picture below, wrong for tiles of another mean."""

    def function(images):
        return images + images.mean((1, 2), keepdims=True) - np.float32(120 / 255)

    bytes_per_pixel = TILE_MEMORY // int(Path(path).read_text())
    return ImageFunction(function, 1, "pool", "global_pool", bytes_per_pixel=bytes_per_pixel)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setitem(opening.OPENERS, ".fn", load)
    module = importlib.import_module("tiling")
    monkeypatch.delitem(sys.modules, "tiling")

    def run(pixels, *arguments):
        (tmp_path / "pool.fn").write_text(str(pixels))
        line = ["--model", tmp_path / "pool.fn", "--data", tmp_path, "--output", tmp_path]
        line += [*arguments, "--sigma", "5"]
        done = CliRunner().invoke(module.main, list(map(str, line)))
        return done.exit_code, json.loads((tmp_path / "tiling.json").read_text())["rows"]

    return run


@pytest.fixture
def halves(tmp_path):
    """Dark left, bright right."""
    samples = np.full((64, 128, 1), 40, np.uint8)
    samples[:, 64:] = 200
    write_picture(tmp_path / "halves.png", Picture(samples))


def test_a_picture_that_runs_whole_loses_nothing(run, halves):
    code, rows = run(10_000)
    assert code == 0
    assert [(row["tile"], row["loss"], row["largest"], row["work"]) for row in rows] == [
        ("64x128", 0, 0, 0)
    ]


def test_tiles_that_differ_show_and_fail_by_default_only(run, halves):
    assert run(10_000, "--tile", 32, "--overlap", 8)[0] == 0
    code, rows = run(2_000, "--tile", 64, "--overlap", 8)
    assert code == 1
    assert [row["default"] for row in rows] == [True, False]
    assert rows[1]["tile"] == "64x64"
    assert all(row["largest"] > 20 and row["work"] > 0 for row in rows)
    assert rows[0]["loss"] == pytest.approx(rows[0]["whole"] - rows[0]["tiled"], abs=1e-3)
