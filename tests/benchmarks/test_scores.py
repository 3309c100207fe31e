import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.models import registry
from keras_rdanet.weights import store

ROOT = Path(__file__).parents[2]
PRESET, OVERRIDES, TASK = "tsp_rdanet_tiny_gray", {"filters": 8}, "gaussian_noise"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the script on two tiny sets with a network that changes nothing."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import scores

    for name in ("set12", "bsd68"):
        (tmp_path / name).mkdir()
        shades = np.linspace(40, 200, 18 * 22).reshape(18, 22)
        cv2.imwrite(str(tmp_path / name / "a.png"), np.uint8(shades))
    model = registry.build(PRESET, **OVERRIDES)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    path = tmp_path / "net.safetensors"
    store.save_weights(
        model, path, metadata={"preset": PRESET, "overrides": OVERRIDES, "task": TASK}
    )
    arguments = ["--data", tmp_path, "--model", path, "--cache", tmp_path / "cache"]
    arguments += ["--results", tmp_path / "results", "--no-baselines"]

    def invoke(*more):
        done = CliRunner().invoke(scores.main, [str(a) for a in (*arguments, *more)])
        assert done.exit_code == 0, done.output
        return done.output

    return invoke


def rows(tmp_path):
    return json.loads((tmp_path / "results" / "scores.json").read_text())["rows"]


def test_every_set_and_sigma_is_measured(run, tmp_path):
    run()
    found = {(row["data"], row["level"]): row for row in rows(tmp_path)}
    levels = ("sigma 15", "sigma 25", "sigma 50")
    assert set(found) == {(name, level) for name in ("set12", "bsd68") for level in levels}
    row = found["bsd68", "sigma 25"]
    assert row["psnr"] == pytest.approx(row["psnr_degraded"], abs=0.01)
    assert row["psnr"] == pytest.approx(20.17, abs=0.6)
    text = (tmp_path / "results" / "scores.md").read_text()
    assert f"| {row['psnr']:.2f} / {row['ssim']:.4f} |" in text


def test_finished_measurements_are_taken_from_the_cache(run, tmp_path):
    run()
    (first, *_) = sorted((tmp_path / "cache").glob("set12-sigma25-*.json"))
    stored = json.loads(first.read_text())
    stored["results"][0]["mean"]["psnr"] = 99.0
    first.write_text(json.dumps(stored))
    run()
    found = {(row["data"], row["level"]): row["psnr"] for row in rows(tmp_path)}
    assert found["set12", "sigma 25"] == 99
    assert found["set12", "sigma 50"] != 99


def test_a_trial_is_not_recorded(run, tmp_path):
    assert "sigma 50" in run("--limit", 1)
    assert not (tmp_path / "results").exists()
