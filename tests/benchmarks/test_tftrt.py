import argparse
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "tftrt.py"
    specification = importlib.util.spec_from_file_location("benchmarks_tftrt", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_tiles_are_the_middle_of_pictures_with_noise_of_sigma(script, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (90, 81), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "small.png"), picture[:40])
    noisy, clean = script.read_tiles(tmp_path, 64, 1, 25)
    np.testing.assert_allclose(clean[0, ..., 0], picture[13:77, 8:72] / 255, atol=1e-6)
    assert abs((noisy - clean).std() - 25 / 255) < 0.003
    with pytest.raises(ValueError, match="at least 128x128"):
        script.read_tiles(tmp_path, 128, 1, 25)


def test_a_row_compares_with_tensorflow_and_with_the_target(script):
    clean = np.full((1, 8, 8, 1), 0.5)
    found = script.row("TF-TRT FP16", clean + 0.1, clean + 0.01, clean, 0.5, 2.0)
    assert (found["PSNR in dB"], found["speed"], found["milliseconds"]) == (20.0, 4.0, 500.0)
    assert found["largest difference"] == pytest.approx(0.09)
    assert found["PSNR to TensorFlow"] == pytest.approx(-20 * np.log10(0.09), abs=0.01)


def test_results_are_written_as_json_and_as_a_table(script, tmp_path):
    rows = [{"what": "TensorFlow", "speed": 1.0}, {"what": "FP16", "speed": 2.0, "engines": 5}]
    script.write(rows, argparse.Namespace(tile=256), tmp_path)
    assert json.loads((tmp_path / "tftrt.json").read_text())["rows"] == rows
    text = (tmp_path / "tftrt.md").read_text()
    assert "| what | speed | engines |\n| --- | --- | --- |\n| TensorFlow | 1.0 |  |" in text


def test_elsewhere_it_says_what_is_missing(script):
    with pytest.raises(ImportError, match="has no TF-TRT that works"):
        script.benchmark(argparse.Namespace())
