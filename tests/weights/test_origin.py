import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_rdanet.files import file_sha256
from keras_rdanet.inference.open import open_model
from keras_rdanet.models import registry
from keras_rdanet.models.tsp_rdanet import TSPRDANet
from keras_rdanet.weights import catalogue, store
from keras_rdanet.weights.origin import Origin

PRESET = "tsp_rdanet_tiny_gray"


def rewritten(path, **fields):
    """A copy of a shipped file whose header says something else: another hash, no entry."""
    shipped = catalogue.path(catalogue.resolve(PRESET))
    header = store.read_metadata(shipped) | fields
    tensors = safetensors.numpy.load_file(shipped)
    path.write_bytes(safetensors.numpy.save(tensors, {store.METADATA_KEY: json.dumps(header)}))
    return path


def test_a_fresh_network_knows_its_preset_and_what_differs_from_it():
    model = registry.build(PRESET, filters=8, use_bias=False, initialization="uniform")
    assert model.origin == Origin(PRESET, {"filters": 8})
    assert model.origin.name == PRESET
    assert model.image_function().origin is model.origin


def test_a_network_made_by_its_class_has_no_origin():
    model = TSPRDANet(filters=8, channels=1, use_bias=False, image_residual=True)
    assert model.origin is None
    assert model.image_function().task is None


def test_weights_that_ship_are_known_in_full():
    entry = catalogue.resolve(PRESET)
    assert registry.load(PRESET).origin == Origin(
        preset=PRESET,
        weights="tsp_rdanet_tiny_gray.awgn",
        sha256=entry.sha256,
        task="gaussian_noise",
        description="blind Gaussian denoising, sigma 0-50",
        license="research and education (BSDS500)",
        training_data=entry.data,
    )


@pytest.mark.parametrize("entry", catalogue.list_models(), ids=lambda entry: entry.name)
def test_a_file_that_ships_is_known_by_its_path(entry, tmp_path):
    copy = shutil.copy(catalogue.path(entry), tmp_path / "copy.safetensors")
    assert catalogue.origin_of(copy) == dataclasses.replace(
        entry.origin, weights="copy.safetensors"
    )
    assert entry.task in ("gaussian_noise", "camera_noise", "jpeg")


@pytest.mark.parametrize(
    ("written", "task", "description"),
    [
        ("JPEG artefacts, quality 10-40", "jpeg", "JPEG artefacts, quality 10-40"),
        ("converted from mosaic.pth", None, "converted from mosaic.pth"),
        ("pairs", None, "pairs"),
        ("rain_streaks", "rain", None),
        ("bayer_mosaic", "bayer_mosaic", None),
        (None, None, None),
    ],
)
def test_what_version_0_1_0_wrote_as_task_is_told_from_prose(tmp_path, written, task, description):
    path = rewritten(tmp_path / "old.safetensors", task=written, description=None)
    function = open_model(path)
    assert function.origin == Origin(
        PRESET, {}, "old.safetensors", file_sha256(path), task, description
    )


def test_training_makes_weights_that_are_in_no_file():
    model = registry.load(PRESET)
    before = model.origin
    images = np.zeros((1, 8, 8, 1), np.float32)
    model.compile("sgd", dict.fromkeys(model.stages, "mae"))
    model.train_on_batch(images, dict.fromkeys(model.stages, images))
    assert model.origin == Origin(PRESET, task="gaussian_noise", license=before.license)


def test_a_wrong_task_is_refused_when_weights_are_written(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    path = tmp_path / "w.safetensors"
    for task in ("blind denoising", "pairs"):
        with pytest.raises(ValueError, match=r"no task '.*'; known: gaussian_noise, "):
            store.save_weights(model, path, metadata={"preset": "a", "task": task})
    store.save_weights(model, path, metadata={"preset": "a", "task": "bicubic"})
    assert store.read_metadata(path)["task"] == "super_resolution"


def test_a_catalogue_of_version_0_1_0_is_read(tmp_path):
    (entry,) = (e for e in catalogue.list_models() if e.name == "tsp_rdanet_tiny_gray.jpeg")
    fields = dataclasses.asdict(entry)
    fields["terms"], fields["task"] = fields.pop("license"), fields.pop("description")
    (tmp_path / "catalogue.json").write_text(json.dumps({"weights": [fields]}))
    assert catalogue.list_models(tmp_path) == [entry]
