"""Damaged model files and configs: whatever the bytes are, opening ends soon and in words."""

import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.config import load_config
from keras_rdanet.export.formats import tflite
from keras_rdanet.export.formats.onnx import export_onnx
from keras_rdanet.export.formats.saved_model import export_saved_model
from keras_rdanet.files import write_bytes
from keras_rdanet.inference.open import open_model
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.saved_model import read_metadata
from keras_rdanet.runtimes.trust import check_saved_model
from keras_rdanet.weights import store
from keras_rdanet.weights.from_torch import read_checkpoint
from tests.mutations import mutations

SECONDS = 2.0
SEED = 20_260
CONFIG = Path(__file__).parents[2] / "configs" / "rdn" / "gray.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One small file of every kind."""
    folder = tmp_path_factory.mktemp("models")
    model = registry.build("rdn_gray", num_blocks=1, filters=4, growth_rate=4, num_layers=1)
    described = meta.describe(model)
    tflite.export_tflite(model, folder / "model.tflite", described, size=8)
    export_onnx(model, folder / "model.onnx", described)
    export_saved_model(model, folder / "saved_model", described)
    store.save_weights(model, folder / "model.safetensors")
    model.save(folder / "model.keras")
    np.savez_compressed(folder / "model.npz", **{"head.weight": np.ones((4, 1, 3, 3), np.float32)})
    (folder / "config.yaml").write_bytes(CONFIG.read_bytes())
    return folder


def check_graph(file):
    check_saved_model(file.parent)


def check_metadata(file):
    read_metadata(file.parents[1])


@pytest.mark.parametrize(
    ("name", "use", "count"),
    [
        ("model.safetensors", open_model, 60),
        ("model.keras", open_model, 20),
        ("model.onnx", open_model, 200),
        ("model.tflite", open_model, 200),
        ("saved_model/saved_model.pb", check_graph, 100),
        ("saved_model/assets.extra/keras_rdanet.json", check_metadata, 200),
        ("model.npz", read_checkpoint, 300),
        ("config.yaml", load_config, 200),
    ],
)
def test_damaged_files_are_opened_or_refused_in_words(folder, name, use, count):
    file = folder / name
    content = file.read_bytes()
    use(file)
    try:
        for damaged in mutations(content, count, SEED):
            write_bytes(file, damaged)
            start = time.process_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    use(file)
            except (ValueError, OSError) as error:
                assert str(folder) in str(error)  # noqa: PT017 (some damage does no harm)
                assert "\n" not in str(error)  # noqa: PT017
            assert time.process_time() - start < SECONDS
    finally:
        write_bytes(file, content)
