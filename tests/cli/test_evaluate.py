import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

from keras_rdanet.cli.evaluate import evaluate
from keras_rdanet.files import file_sha256
from keras_rdanet.image.io import read_picture
from keras_rdanet.models import registry
from keras_rdanet.tasks.registry import TASKS
from keras_rdanet.weights import store


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network that changes nothing: all its weights are zero, the image passes by."""
    path = tmp_path_factory.mktemp("weights") / "still.safetensors"
    preset, overrides = "tsp_rdanet_tiny_gray", {"filters": 8}
    model = registry.build(preset, **overrides)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    store.save_weights(model, path, metadata={"preset": preset, "overrides": overrides})
    return path


@pytest.fixture(scope="module")
def color_weights(tmp_path_factory):
    """A colour network that changes nothing."""
    path = tmp_path_factory.mktemp("weights") / "still_rgb.safetensors"
    preset, overrides = "tsp_rdanet_tiny_rgb", {"filters": 8}
    model = registry.build(preset, **overrides)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    store.save_weights(model, path, metadata={"preset": preset, "overrides": overrides})
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    shades = np.linspace(40, 200, 18 * 22).reshape(18, 22)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), np.uint8(shades))
    return folder


def run(*arguments):
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def test_scores_are_printed_and_written(weights, images, tmp_path):
    done = run(
        *("--model", weights, "--data", images, "--sigma", 15, "--sigma", 25),
        *("--self-ensemble", "--json", tmp_path / "s.json", "--markdown", tmp_path / "s.md"),
        *("--sheet", tmp_path / "s.png"),
    )
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "s.json").read_text())
    assert stored["data"] == "set"
    assert [
        (result["method"]["name"], result["protocol"]["sigma"]) for result in stored["results"]
    ] == [
        ("still.safetensors", 15),
        ("still.safetensors x8", 15),
        ("still.safetensors", 25),
        ("still.safetensors x8", 25),
    ]
    first = stored["results"][0]
    assert first["method"]["sha256"] == file_sha256(weights)
    assert first["mean"]["psnr"] == pytest.approx(first["mean"]["psnr_degraded"], abs=0.01)
    assert f"{first['mean']['psnr']:.2f}" in done.output
    assert "a.png" in done.output
    assert "sigma 25" in (tmp_path / "s.md").read_text()
    assert read_picture(tmp_path / "s.png").samples.shape[-1] == 3


def test_noise_may_have_a_mean(weights, images, tmp_path):
    line = ["--model", weights, "--data", images, "--sigma", 1, "--json", tmp_path / "s.json"]
    degraded = []
    for mean in (0, 20):
        assert run(*line, "--mean", mean).exit_code == 0
        (result,) = json.loads((tmp_path / "s.json").read_text())["results"]
        degraded.append(result["mean"]["psnr_degraded"])
    assert degraded[0] > 45
    assert degraded[1] == pytest.approx(20 * np.log10(255 / 20), abs=0.5)


def test_limit_and_baselines(weights, images):
    done = run("--model", weights, "--data", images, "--sigma", 25, "--limit", 1, "--baselines")
    assert done.exit_code == 0, done.output
    assert "b.png" not in done.output
    for name in ("OpenCV non-local means", "scikit-image wavelet", "BM3D"):
        assert name in done.output


def test_real_pairs(weights, images, tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    for path in images.iterdir():
        cv2.imwrite(str(clean / path.name), cv2.imread(str(path), 0) + np.uint8(10))
    done = run("--model", weights, "--pairs", images, clean, "--baselines")
    assert done.exit_code == 0, done.output
    assert f"{20 * np.log10(255 / 10):.2f}" in done.output
    assert "OpenCV non-local means" in done.output


def test_pairs_of_a_public_set_are_found_and_scored_as_it_is_usual(weights, tmp_path):
    shades = np.uint8(np.linspace(40, 200, 18 * 22).reshape(18, 22))
    folder = tmp_path / "RealSR" / "Test" / "3"
    folder.mkdir(parents=True)
    for name, image in (("Canon_001_LR3", shades), ("Canon_001_HR", shades + 10)):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    done = run(
        *("--model", weights, "--data", tmp_path / "RealSR", "--layout", "realsr_x3"),
        *("--split", "test", "--json", tmp_path / "s.json"),
    )
    assert done.exit_code == 0, done.output
    (result,) = json.loads((tmp_path / "s.json").read_text())["results"]
    assert result["protocol"]["name"] == "super-resolution pairs"
    assert result["protocol"]["crop_border"] == 3
    assert result["mean"]["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=0.01)


def test_the_blocks_of_sidd_are_scored(color_weights, tmp_path):
    noisy = np.random.default_rng(0).integers(0, 200, (1, 2, 16, 16, 3)).astype(np.uint8)
    for name, blocks in (("Noisy", noisy), ("Gt", noisy + np.uint8(10))):
        scipy.io.savemat(tmp_path / f"{name}.mat", {f"Validation{name}BlocksSrgb": blocks})
    done = run("--model", color_weights, "--pairs", tmp_path / "Noisy.mat", tmp_path / "Gt.mat")
    assert done.exit_code == 0, done.output
    assert "0001_02" in done.output
    assert f"{20 * np.log10(255 / 10):.2f}" in done.output


def test_pairs_of_different_sizes_are_named(weights, images, tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    for path in images.iterdir():
        cv2.imwrite(str(clean / path.name), np.zeros((10, 10), np.uint8))
    done = run("--model", weights, "--pairs", images, clean)
    assert isinstance(done.exception, ValueError)
    assert "a.png is 22x18" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either --data or --pairs"),
        (["--data", "{images}", "--pairs", "{images}", "{images}"], "Give either --data or"),
        (["--pairs", "{images}", "{images}", "--sigma", "25"], "--sigma cannot be used with pairs"),
        (
            ["--data", "{images}", "--crop-border", "2"],
            "--crop-border cannot be used with clean images",
        ),
        (["--data", "{images}", "--sigma", "25", "--quality", "9"], "belongs to --task jpeg"),
        (["--data", "{images}", "--task", "jpeg", "--sigma", "25"], "to --task gaussian_noise"),
        (["--data", "{images}", "--task", "jpeg", "--mean", "25"], "to --task gaussian_noise"),
        (["--pairs", "{images}", "{images}", "--layout", "cc"], "--layout needs --data"),
        (["--data", "{images}", "--split", "test"], "--split needs --layout"),
        (
            ["--data", "{images}", "--layout", "cc", "--sigma", "25"],
            "--sigma cannot be used with pairs",
        ),
        (["--data", "{images}", "--task", "haze"], "Invalid value for '--task'"),
        (["--data", "{images}", "--quality", "101"], "Invalid value for '--quality'"),
        (["--data", "{images}", "--sigma", "-1"], "Invalid value for '--sigma'"),
        (["--data", "{images}", "--sigma", "25", "--tile", "large"], "Or 'four'"),
        (["--data", "{images}", "--sigma", "25", "--tile", "8"], "from 32"),
        (["--data", "{images}/nowhere", "--sigma", "25"], "does not exist"),
    ],
)
def test_bad_usage_exits_with_2(arguments, message, images):
    done = run("--model", "any", *(argument.format(images=images) for argument in arguments))
    assert done.exit_code == 2
    assert message in done.output


def test_unknown_model_lists_the_known_ones(images):
    done = run("--model", "nonsense", "--data", images, "--sigma", 25)
    assert isinstance(done.exception, ValueError)
    assert "nonsense" in str(done.exception)
    assert "known" in str(done.exception)


def test_empty_folder_and_unreadable_picture_are_named(weights, tmp_path):
    arguments = ("--model", weights, "--data", tmp_path, "--sigma", 25)
    assert str(tmp_path) in str(run(*arguments).exception)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "broken.png" in str(run(*arguments).exception)


def test_bad_target_fails_before_the_work(weights, images, tmp_path):
    arguments = ("--model", "any", "--data", images, "--sigma", 25)
    done = run(*arguments, "--sheet", tmp_path / "nowhere" / "s.png")
    assert isinstance(done.exception, OSError)
    assert "nowhere" in str(done.exception)


@pytest.mark.parametrize(
    "task", [task for task in TASKS if task not in ("super_resolution", "gaussian_noise")]
)
def test_every_task_is_scored_on_clean_images(color_weights, images, task, tmp_path):
    done = run(
        *("--model", color_weights, "--data", images, "--task", task, "--limit", 1),
        *("--json", tmp_path / "s.json"),
    )
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "s.json").read_text())["results"]
    assert [result["protocol"].get("quality") for result in results] == (
        [10, 20, 30, 40] if task == "jpeg" else [None]
    )
    for result in results:
        mean = result["mean"]
        assert mean["psnr"] == pytest.approx(mean["psnr_degraded"], abs=0.01)
        assert 5 < mean["psnr"] < 60


def test_the_model_and_options_name_the_task(weights, images, tmp_path):
    assert (
        "does not say what it was trained for" in run("--model", weights, "--data", images).output
    )
    known = run("--model", "tsp_rdanet_tiny", "--data", images, "--limit", 1)
    assert [f"sigma {sigma}" in known.output for sigma in (15, 25, 50)] == [True] * 3
    quality = run("--model", weights, "--data", images, "--quality", 12)
    assert "JPEG compression, quality 12" in quality.output
    assert "PSNR-B (dB)" in quality.output
    done = run("--model", weights, "--data", images, "--quality", 12, "--baselines")
    assert done.exit_code == 2
    assert "the task is jpeg" in done.output


def test_super_resolution_is_scored_beside_bicubic(images, tmp_path):
    path = tmp_path / "x2.safetensors"
    overrides = {"filters": 8, "growth_rate": 8, "num_blocks": 1, "num_layers": 1}
    model = registry.build("rdn_rgb_x2", **overrides)
    store.save_weights(model, path, metadata={"preset": "rdn_rgb_x2", "overrides": overrides})
    done = run("--model", path, "--data", images, "--json", tmp_path / "s.json")
    assert done.exit_code == 0, done.output
    assert "bicubic super-resolution, scale 2" in done.output
    assert "bicubic (dB)" in done.output
    (result,) = json.loads((tmp_path / "s.json").read_text())["results"]
    assert result["protocol"]["crop_border"] == 2
    assert result["mean"]["psnr_degraded"] > 40  # a smooth image
    done = run("--model", path, "--data", images, "--sigma", 25)
    assert "enlarges images 2 times" in str(done.exception)


def test_pairs_of_one_size_for_super_resolution_have_a_border(weights, images, tmp_path):
    done = run(
        *("--model", weights, "--pairs", images, images, "--task", "bicubic"),
        *("--crop-border", 3, "--json", tmp_path / "s.json"),
    )
    assert done.exit_code == 0, done.output
    (result,) = json.loads((tmp_path / "s.json").read_text())["results"]
    assert result["protocol"]["crop_border"] == 3


def test_an_exported_file_is_scored_without_a_framework(images, tmp_path):
    """In a process where TensorFlow and Keras cannot be imported."""
    (tmp_path / "same.fn").write_text("")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras']))\n"
        "from keras_rdanet.inference import open as opening\n"
        "from tests.inference.functions import open_identity\n"
        "opening.OPENERS['.fn'] = open_identity\n"
        "from keras_rdanet.cli.main import main\n"
        f"sys.argv = ['keras-rdanet', 'evaluate', '--model', {str(tmp_path / 'same.fn')!r},\n"
        f"            '--data', {str(images)!r}, '--quality', '10']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "same.fn" in done.stdout
