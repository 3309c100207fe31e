from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_rdanet.export.job import (
    calibrating_degradation,
    job_of,
    prepare_job,
    verification_protocol,
)
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.models import registry
from keras_rdanet.runtimes.metadata import describe

OVERRIDES = {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}


def test_a_job_knows_its_network_and_its_pictures(weights, pictures):
    job = prepare_job(weights, test=pictures, size=32)
    assert (job.metadata.weights, job.metadata.preset) == ("mine.safetensors", "rdn_gray")
    assert job.metadata.overrides["filters"] == 4
    assert [sample.degraded.shape for sample in job.reference.samples] == [(32, 32, 1)] * 2
    assert job.protocol["sigma"] == 25
    assert job.protocol["crops"] == "2 of 32x32 pixels, from the middle"


def test_without_pictures_a_drawn_scene_verifies_it(weights):
    found = prepare_job(weights, size=48)
    assert found.protocol["pictures"] == "a drawn scene"
    (sample,) = found.reference.samples
    assert sample.target.std() > 20


def test_the_pictures_choose_from_a_family(pictures, monkeypatch):
    chosen = []
    monkeypatch.setattr(registry, "load", lambda name, **options: chosen.append(name) or 1 / 0)
    for options in [{"test": pictures}, {"test": pictures, "channels": 3}, {}]:
        with pytest.raises(ZeroDivisionError):
            prepare_job("tsp_rdanet_tiny", **options)
    assert chosen == ["tsp_rdanet_tiny_gray", "tsp_rdanet_tiny_rgb", "tsp_rdanet_tiny_rgb"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 3}, "has 1 channels, not 3"),
        ({"size": 100}, "No picture is as large as 100x100"),
    ],
)
def test_what_does_not_suit_is_refused(weights, pictures, options, message):
    with pytest.raises(ValueError, match=message):
        prepare_job(weights, test=pictures, **options)


def test_an_export_is_not_exported_again(tmp_path):
    (tmp_path / "model.tflite").touch()
    with pytest.raises(ValueError, match="is an export already"):
        prepare_job(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("task", "scale", "protocol", "degradation"),
    [
        (None, 1, "GaussianNoise", "GaussianNoise"),
        ("jpeg", 1, "JPEG", "JPEG"),
        ("bicubic", 2, "SuperResolution", "SuperResolution"),
        ("rain_streaks", 1, "Rain", "Rain"),
    ],
)
def test_networks_are_verified_on_what_they_were_trained_for(task, scale, protocol, degradation):
    assert type(verification_protocol(task, scale).task).__name__ == protocol
    assert type(calibrating_degradation(task, scale)).__name__ == degradation


@pytest.mark.parametrize(
    ("preset", "overrides", "size", "side"),
    [
        ("rdn_rgb_x2", {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}, 32, 64),
        ("pa_edsr_x2", {"num_blocks": 2, "filters": 4, "reduction": 2}, 48, 48),
    ],
)
def test_calibration_tiles_suit_the_network(tmp_path, preset, overrides, size, side):
    samples = np.random.default_rng(0).integers(0, 256, (150, 160, 3), np.uint8)
    for index in range(4):
        write_picture(tmp_path / f"{index}.png", Picture(samples))
    model = registry.build(preset, **overrides)
    metadata = describe(model)
    job = job_of(model, metadata, calibration=tmp_path, test=tmp_path, size=size, pictures=1)
    assert job.calibration.degraded.shape[1:3] == (side, side)
    assert job.calibration.target.shape[1:3] == (2 * side, 2 * side)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_in_memory_is_exported_as_what_it_was_made_from(precision, pictures):
    model = registry.build("rdn_gray", precision=precision, **OVERRIDES)
    model.origin = replace(model.origin, task="jpeg")
    job = prepare_job(model, test=pictures, size=32)
    assert (job.metadata.preset, job.metadata.overrides) == ("rdn_gray", OVERRIDES)
    assert (job.metadata.task, job.protocol["quality"], job.trained) == ("jpeg", 20, True)
    assert job.reference.function.precision == "float32"
    for own, given in zip(job.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, given)


def test_a_model_that_does_not_know_its_preset_is_refused(pictures):
    model = registry.build("rdn_gray", **OVERRIDES)
    model.origin = None
    with pytest.raises(ValueError, match="was made by its class, so nothing says how to make it"):
        prepare_job(model, test=pictures, size=32)
    with pytest.raises(TypeError, match="must be a name, a path, a model"):
        prepare_job(keras.Sequential([keras.Input((None, None, 1))]), test=pictures)
