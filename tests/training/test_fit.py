import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from keras_rdanet.cli.evaluate import evaluate as command
from keras_rdanet.config import RunConfig
from keras_rdanet.ownership import locked
from keras_rdanet.training.fit import train

OPTIONS = {
    "model": {
        "preset": "rdn_gray",
        "overrides": {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1},
    },
    "data": {
        "phases": [
            {"steps": 20, "patch_size": 12, "batch_size": 2},
            {"steps": 20, "patch_size": 16, "batch_size": 2},
        ],
    },
    "degradation": {"name": "gaussian_noise", "sigma": [0, 50]},
    "mixup": {"alpha": 0.6, "from_step": 5},
    "loss": {"pixel": "charbonnier", "clip": True},
    "optimizer": {"ema": 0.9},
    "schedule": {"name": "cosine", "peak": 2e-3, "warmup": 5},
    "validation": {"limit": 2, "crop": 32},
    "checkpoint_steps": 10,
    # Else TensorFlow's AddN adds three or more gradients in the order in which their buffers
    # become free: two equal runs then differed by up to 1.6e-5 after 40 steps.
    "xla": True,
}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(4):
        image = cv2.resize(random.integers(0, 256, (6, 6), np.uint8), (48, 40))
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return {
        **OPTIONS,
        "data": {**OPTIONS["data"], "train": str(folder)},
        "validation": {**OPTIONS["validation"], "data": str(folder)},
    }


@pytest.fixture(scope="module")
def whole_run(options, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    # It is validated with images that it is trained on.
    with pytest.warns(UserWarning, match=r"4 of 4 validation images are trained on, too \(.*0.png"):
        return output, train(RunConfig.model_validate(options), output)


def difference(one, other):
    one, other = load_file(one), load_file(other)
    assert one.keys() == other.keys()
    return max(
        np.abs(one[name].astype(np.float64) - other[name].astype(np.float64)).max() for name in one
    )


def test_killed_and_resumed_run_equals_the_whole_one(options, whole_run, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(options))  # JSON is YAML
    command = [sys.executable, "-m", "keras_rdanet", "train", str(config), "-o", str(tmp_path)]
    with (
        open(tmp_path / "log", "w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        history = tmp_path / "history.csv"
        deadline = time.monotonic() + 200
        # Three rows: step 20 is done and later steps are under way.
        while not history.exists() or len(history.read_text().splitlines()) < 3:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "report.json").exists()

    train(RunConfig.model_validate(options), tmp_path, resume=True)
    for name in ("checkpoint.safetensors", "weights.safetensors"):
        assert difference(tmp_path / name, whole_run[0] / name) == 0
    assert list(tmp_path.rglob(".*")) == []
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40]


def test_report_holds_what_the_run_cost_and_reached(whole_run):
    output, report = whole_run
    assert report["steps"] == 40
    assert report["pixels"] == 20 * 2 * 12**2 + 20 * 2 * 16**2
    assert report["hours"] >= 0
    assert 0 <= report["input_wait_share"] < 1
    assert report["best_val_psnr"] >= report["final"]["val_psnr"] > 10
    assert json.loads((output / "report.json").read_text()) == report
    assert len(list((output / "samples").glob("*.png"))) == 4
    assert list((output / "tensorboard").rglob("events*"))


def test_history_says_what_evaluate_gives_on_the_same_images(tmp_path, options):
    small = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1}
    folder = options["data"]["train"]
    how = {
        **options,
        "model": {"preset": "rdn_rgb_x2", "overrides": small},
        "data": {"train": folder, "phases": [{"steps": 2, "patch_size": 16, "batch_size": 1}]},
        "degradation": {"name": "bicubic", "scale": 2},
        "validation": {"data": folder, "crop": None},
        "checkpoint_steps": 2,
        "xla": False,
    }
    report = train(RunConfig.model_validate(how), tmp_path)
    weights, scores = tmp_path / "weights.safetensors", tmp_path / "scores.json"
    command.main(
        ["--model", str(weights), "--data", folder, "--json", str(scores)], standalone_mode=False
    )
    (result,) = json.loads(scores.read_text())["results"]
    assert report["final"]["val_psnr"] == pytest.approx(result["mean"]["psnr"], abs=1e-4)
    assert result["protocol"]["crop_border"] == 2


def test_finished_run_has_nothing_to_resume(options, whole_run, tmp_path):
    shutil.copytree(whole_run[0], tmp_path / "copy")
    (tmp_path / "copy" / "report.json").unlink()  # killed just before the end
    report = train(RunConfig.model_validate(options), tmp_path / "copy", resume=True)
    assert {**report, "input_wait_share": 0} == {**whole_run[1], "input_wait_share": 0}


def test_unusable_images_leave_nothing_behind(options, tmp_path):
    phase = {"steps": 10, "patch_size": 4000, "batch_size": 1}
    wrong = {**options, "data": {**options["data"], "phases": [phase]}}
    with pytest.raises(ValueError, match="smaller than"):
        train(RunConfig.model_validate(wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_new_run_does_not_overwrite_another(options, whole_run):
    with pytest.raises(ValueError, match="--resume"):
        train(RunConfig.model_validate(options), whole_run[0])


def test_resume_refuses_other_options(options, whole_run):
    other = RunConfig.model_validate({**options, "seed": 5})
    with pytest.raises(ValueError, match=r"other options \(seed\)"):
        train(other, whole_run[0], resume=True)


def test_resume_takes_folders_that_moved_but_none_of_other_content(options, whole_run, tmp_path):
    shutil.copytree(whole_run[0], tmp_path / "copy")
    moved = shutil.copytree(options["data"]["train"], tmp_path / "moved")
    config = RunConfig.model_validate(
        {**options, "data": {**options["data"], "train": str(moved)}, "validation": None}
    )
    assert train(config, tmp_path / "copy", resume=True)["steps"] == 40
    (moved / "0.png").write_bytes((moved / "1.png").read_bytes())
    with pytest.raises(ValueError, match=r"other options \(data\.train\)"):
        train(config, tmp_path / "copy", resume=True)


def test_a_run_that_is_under_way_is_not_run_again(options, tmp_path):
    with (
        locked(tmp_path / ".run.lock", f"the run {tmp_path}"),
        pytest.raises(OSError, match=rf"the run .*is in use .*process {os.getpid()}"),
    ):
        train(RunConfig.model_validate({**options, "validation": None}), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_resume_takes_runs_from_before_an_option_existed(options, whole_run, tmp_path):
    shutil.copytree(whole_run[0], tmp_path / "copy")
    checkpoint = tmp_path / "copy" / "checkpoint.safetensors"
    with safe_open(checkpoint, framework="numpy") as file:
        metadata = file.metadata()
    state = json.loads(metadata["state"])
    del state["config"]["mix"], state["config"]["degradation"]["mean"]
    metadata["state"] = json.dumps(state)
    save_file(load_file(checkpoint), checkpoint, metadata)
    report = train(RunConfig.model_validate(options), tmp_path / "copy", resume=True)
    assert report["steps"] == 40


def test_nan_stops_the_run_and_keeps_the_batch(options, tmp_path):
    diverging = {**options, "schedule": {"name": "cosine", "peak": 1e30}, "validation": None}
    with pytest.raises(FloatingPointError, match="nan_batch"):
        train(RunConfig.model_validate(diverging), tmp_path)
    (saved,) = tmp_path.glob("nan_batch_*.npz")
    with np.load(saved) as arrays:
        step = int(saved.stem.rsplit("_", 1)[1])
        assert arrays[f"degraded_{step}"].shape == (2, 12, 12, 1)
        assert np.isfinite(arrays[f"target_{step}"]).all()
    assert not (tmp_path / "report.json").exists()
