"""Our SavedModels where neither keras-rdanet nor Keras 3 is installed; see `make interop`."""

import functools
import importlib.util
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "build" / "interop"


def names():
    return json.loads((MODELS / "names.json").read_text())


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names())


@pytest.fixture
def saved_model(name):
    """Folder of a SavedModel, and what the environment that wrote it computed."""
    return MODELS / name, dict(np.load(MODELS / f"{name}.npz"))


@functools.cache
def load(name):
    import tensorflow as tf

    return tf.saved_model.load(str(MODELS / name))


@pytest.fixture
def loaded(name):
    """The SavedModel in memory, read once for all tests that do not change it."""
    return load(name)


@pytest.fixture
def denoiser():
    """The SavedModel of the network that is fine-tuned, in memory."""
    return MODELS / "tsp_rdanet", dict(np.load(MODELS / "tsp_rdanet.npz"))


@pytest.fixture(scope="session")
def tftrt():
    """The module `export/tftrt.py`, by its path: the package is not installed here."""
    specification = importlib.util.spec_from_file_location("tftrt", ROOT / "export" / "tftrt.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def without_library(monkeypatch):
    """Past the checks of TensorRT's version, for which its library would have to be loaded."""
    from tensorflow.python.compiler.tensorrt import trt_convert, utils

    monkeypatch.setattr(trt_convert, "_check_trt_version_compatibility", lambda: None)
    for kind in ("linked", "loaded"):
        name = f"is_{kind}_tensorrt_version_greater_equal"
        monkeypatch.setattr(utils, name, lambda *version: True)


@pytest.fixture
def without_gpu(monkeypatch):
    """Past the question whether the default device is a GPU."""
    from tensorflow.python.compiler.tensorrt import trt_convert

    class Device:
        device = "/job:localhost/replica:0/task:0/device:GPU:0"

    class ArrayOps:
        """`array_ops`, but what it makes claims to be on a GPU."""

        def __getattr__(self, name):
            return getattr(original, name)

        def zeros(self, shape):
            return Device() if shape == [] else original.zeros(shape)

    original = trt_convert.array_ops
    monkeypatch.setattr(trt_convert, "array_ops", ArrayOps())
