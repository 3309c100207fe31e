import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.cli.evaluate import evaluate
from keras_rdanet.models import registry
from keras_rdanet.weights import catalogue, store

ROOT = Path(__file__).parents[2]
WORDS = ["--tag", "test", "--description", "denoising", "--data", "noise"]
WORDS += ["--license", "any use"]
WORDS += ["--config", str(ROOT / "setup.cfg")]
NAME = "tsp_rdanet_tiny_gray.test"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import catalogue as module

    return module


@pytest.fixture
def call(script, tmp_path):
    """Run the script on an empty catalogue in `tmp_path`."""
    (tmp_path / "catalogue.json").write_text('{"weights": []}')

    def invoke(*arguments):
        command = [*map(str, arguments), "--catalogue", str(tmp_path)]
        return CliRunner().invoke(script.main, command, catch_exceptions=False)

    return invoke


def make_run(folder, seed=0, pixels=1000, hours=0.25):
    """A folder as training leaves it."""
    folder.mkdir()
    preset, overrides = "tsp_rdanet_tiny_gray", {"filters": 8}
    model = registry.build(preset, **overrides)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.05, w.shape) for w in model.get_weights()])
    metadata = {"preset": preset, "overrides": overrides, "task": "gaussian_noise"}
    store.save_weights(model, folder / "weights.safetensors", metadata=metadata)
    report = {"pixels": pixels, "hours": hours, "device": {"processor": "p", "cores": 4}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def scores_of(tmp_path, *options, sigmas=(25,)):
    """What `keras-rdanet evaluate` writes about the added weights, on one picture."""
    data = tmp_path / "pictures"
    data.mkdir(exist_ok=True)
    image = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    cv2.imwrite(str(data / "a.png"), image)
    file = tmp_path / "files" / f"{NAME}.safetensors"
    arguments = ["--model", str(file), "--data", str(data), "--json", str(tmp_path / "s.json")]
    arguments += [text for sigma in sigmas for text in ("--sigma", str(sigma))]
    result = CliRunner().invoke(evaluate, [*arguments, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return tmp_path / "s.json"


def test_added_weights_are_float16_with_the_cost_of_all_runs(call, tmp_path):
    first = make_run(tmp_path / "first", pixels=500, hours=1.0)
    run = make_run(tmp_path / "run")
    assert call("add", run, *WORDS, "--earlier", first, "--default").exit_code == 0
    entry = catalogue.resolve("tsp_rdanet_tiny_gray", tmp_path)
    assert (entry.name, entry.channels, entry.overrides) == (NAME, 1, {"filters": 8})
    assert entry.cost["pixels"] == 1500
    assert entry.cost["hours"] == 1.25
    assert entry.cost["devices"] == [{"processor": "p", "cores": 4}]
    assert entry.bytes < 2 * entry.parameters + 20_000
    stored = store.read_tensors(catalogue.path(entry, tmp_path), sha256=entry.sha256)
    trained = store.read_tensors(run / "weights.safetensors")
    for name, array in trained.items():
        np.testing.assert_array_equal(stored[name], array.astype(np.float16).astype(np.float32))


def test_scores_come_from_what_evaluate_wrote(call, tmp_path):
    call("add", make_run(tmp_path / "run"), *WORDS)
    file = scores_of(tmp_path, sigmas=(15, 25))
    assert call("score", file).exit_code == 0
    assert call("score", file).exit_code == 0  # again: replaced, not doubled
    entry = catalogue.resolve(NAME, tmp_path)
    written = json.loads(file.read_text())["results"]
    assert [(s["data"], s["sigma"], s["images"]) for s in entry.scores] == [
        ("pictures", 15.0, 1),
        ("pictures", 25.0, 1),
    ]
    for score, result in zip(entry.scores, written, strict=True):
        assert score["psnr"] == pytest.approx(result["mean"]["psnr"], abs=1e-4)
    assert entry.protocol["seed"] == 0
    assert "sigma" not in entry.protocol


def test_other_ways_to_restore_are_left_out(call, tmp_path):
    call("add", make_run(tmp_path / "run"), *WORDS)
    result = call("score", scores_of(tmp_path, "--self-ensemble"))
    assert result.output.count("left out") == 1
    assert len(catalogue.resolve(NAME, tmp_path).scores) == 1


def test_scores_of_other_weights_are_refused(call, tmp_path):
    call("add", make_run(tmp_path / "run"), *WORDS)
    file = scores_of(tmp_path)
    call("add", make_run(tmp_path / "other", seed=1), *WORDS)
    assert catalogue.resolve(NAME, tmp_path).scores == ()
    with pytest.raises(ValueError, match="no weights with SHA-256"):
        call("score", file)


def test_scores_by_two_protocols_do_not_mix(call, tmp_path):
    call("add", make_run(tmp_path / "run"), *WORDS)
    file = scores_of(tmp_path)
    call("score", file)
    changed = file.read_text().replace('"seed": 0', '"seed": 1')
    assert changed != file.read_text()
    file.write_text(changed)
    with pytest.raises(ValueError, match="another protocol"):
        call("score", file)
