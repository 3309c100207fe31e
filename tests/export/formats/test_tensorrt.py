import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from keras_rdanet.export.formats.onnx import export_onnx, export_qdq
from keras_rdanet.export.formats.tensorrt import write_tensorrt
from keras_rdanet.export.tftrt import Profile
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta

PROFILE = Profile((1, 32, 48), (2, 64, 64), (4, 128, 96))


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """The ONNX file of a small gray network."""
    overrides = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 2}
    model = registry.build("rdn_gray", **overrides)
    path = tmp_path_factory.mktemp("onnx") / "mine.onnx"
    return export_onnx(model, path, meta.describe(model, "rdn_gray", overrides=overrides))


def copied(gray, folder):
    return shutil.copy(gray, folder / "my model.onnx")


def run_command(command):
    """The arguments that the command gives to `trtexec`, which here only prints them."""
    trtexec = command.parent / "trtexec"
    trtexec.write_text('#!/bin/sh\nfor a in "$@"; do echo "$a"; done\n')
    trtexec.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(command), "--verbose"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# What stands in for NVIDIA's package: it writes down what is asked of it.
TENSORRT = """
import json
calls = []
class Recorder:
    def __init__(self, name): self.name = name
    def __getattr__(self, name): return Recorder(f"{self.name}.{name}")
    def __call__(self, *arguments):
        calls.append([self.name, *[a if isinstance(a, (int, str, tuple)) else None
                                   for a in arguments]])
        if self.name.endswith("build_serialized_network"):
            return json.dumps(calls).encode()
        return Recorder(self.name + "()")
class BuilderFlag: FP16, INT8 = "FP16", "INT8"
class NetworkDefinitionCreationFlag: pass
class Logger(Recorder):
    WARNING = 1
    def __init__(self, level): super().__init__("logger")
Builder, OnnxParser = Recorder("Builder"), Recorder("OnnxParser")
"""


def run_script(script):
    (script.parent / "tensorrt.py").write_text(TENSORRT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    engine = script.parent / "my model.engine"
    assert done.stdout.strip() == str(engine)
    return engine.read_text()


def test_both_build_for_the_same_sizes(gray, tmp_path):
    command, script = write_tensorrt(copied(gray, tmp_path), profile=PROFILE)
    assert run_command(command) == [
        "--onnx=my model.onnx",
        "--saveEngine=my model.engine",
        "--fp16",
        "--minShapes=degraded:1x32x48x1",
        "--optShapes=degraded:2x64x64x1",
        "--maxShapes=degraded:4x128x96x1",
        "--verbose",
    ]
    calls = run_script(script)
    assert '"degraded", [1, 32, 48, 1], [2, 64, 64, 1], [4, 128, 96, 1]' in calls
    assert '"FP16"' in calls
    assert '"INT8"' not in calls


def test_int8_around_zero_is_asked_for_and_other_int8_refused(gray, tmp_path):
    tiles = [np.random.default_rng(0).random((1, 16, 16, 1), np.float32)]
    symmetric = export_qdq(gray, tmp_path / "my model.onnx", tiles, symmetric=True)
    command, script = write_tensorrt(symmetric, precision="FP32")
    assert "--int8" in run_command(command)
    assert "--fp16" not in run_command(command)
    assert '"INT8"' in run_script(script)
    with pytest.raises(ValueError, match="symmetric=True"):
        write_tensorrt(export_qdq(gray, tmp_path / "uint8.onnx", tiles))


def test_the_script_says_what_is_missing_in_one_line(gray, tmp_path):
    _, script = write_tensorrt(copied(gray, tmp_path))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "build_engine: No module named 'tensorrt'"


def test_the_script_is_in_good_style(gray, tmp_path):
    _, script = write_tensorrt(copied(gray, tmp_path))
    subprocess.run([sys.executable, "-m", "ruff", "check", "-q", "--isolated", script], check=True)


def test_what_the_network_does_not_take_is_refused(gray, tmp_path):
    proto = onnx.load(gray)
    metadata = meta.from_json(proto.metadata_props[0].value)
    strict = replace(metadata, multiple=8)
    onnx.helper.set_model_props(proto, {meta.FILE_NAME: strict.to_json()})
    onnx.save(proto, tmp_path / "strict.onnx")
    with pytest.raises(ValueError, match="multiples of 8"):
        write_tensorrt(tmp_path / "strict.onnx", profile=Profile((1, 30, 32)))
    with pytest.raises(ValueError, match="FP32"):
        write_tensorrt(gray, precision="INT4")
