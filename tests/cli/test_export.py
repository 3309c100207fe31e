import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.cli import export as command
from keras_rdanet.cli.main import VERBS
from keras_rdanet.export.formats.registry import FORMATS
from keras_rdanet.image.io import Picture, read_picture, write_picture
from keras_rdanet.models import registry
from keras_rdanet.weights import store


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    overrides = {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}
    model = registry.build("rdn_gray", **overrides)
    store.save_weights(model, path, metadata={"preset": "rdn_gray", "overrides": overrides})
    return path


def run(*arguments):
    code = "from keras_rdanet.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


def test_an_export_restores_a_picture(weights, tmp_path):
    out = tmp_path / "out"
    done = run("export", weights, "--format", "saved_model", "--size", 32, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "saved_model, MB" in done.stdout
    assert f"mine.safetensors: {out / 'report.md'}, " in done.stdout
    noisy = np.random.default_rng(0).integers(0, 256, (20, 31, 1), np.uint8)
    write_picture(tmp_path / "noisy.png", Picture(noisy))
    clean = tmp_path / "clean.png"
    done = run("restore", tmp_path / "noisy.png", clean, "--model", out / "saved_model")
    assert done.returncode == 0, done.stderr
    assert "saved_model in float32" in done.stdout
    assert read_picture(clean).samples.shape == noisy.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "tflite,pdf"], "'pdf' is not one of saved_model, onnx, tflite"),
        (["--variants", "int4"], "'int4' is not one of fp32, fp16"),
        (["--channels", "cmyk"], "cmyk"),
        ([], "Missing option '--out'"),
        (["--out", "out"], "int8, int8_uint8, int16x8: ranges are measured on clean pictures"),
        (["--out", "out", "--format", "onnx"], "or leave them out (--variants fp32)"),
        (
            ["--out", "out", "--format", "saved_model,onnx", "--variants", "int8"],
            "saved_model comes as fp32",
        ),
        (["--out", "out", "--format", "onnx", "--variants", "int8"], "give a folder of them"),
        (["--out", "out", "--variants", "fp32", "--fine-tune", "9"], "Fine-tuning learns from"),
        (["--fine-tune", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_wrong_options_are_bad_usage(arguments, message):
    result = CliRunner(env={"COLUMNS": "300"}).invoke(command.export, ["tsp_rdanet", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_a_new_format_is_a_choice(monkeypatch):
    monkeypatch.setitem(FORMATS, "onnx2", replace(FORMATS["onnx"], name="onnx2"))
    found = CliRunner().invoke(command.export, ["x", "--out", "y", "--format", "onnx2"])
    assert "int8: ranges are measured on clean pictures" in found.output


def test_export_is_a_verb():
    assert VERBS["export"][:2] == ("keras_rdanet.cli.export", "export")
