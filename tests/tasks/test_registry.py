import json
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.cli.evaluate import evaluate
from keras_rdanet.config import RunConfig
from keras_rdanet.evaluation.evaluate import task_of
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.models import registry as networks
from keras_rdanet.tasks import registry
from keras_rdanet.tasks.base import EvaluationOption, Layout, Task
from keras_rdanet.tasks.scoring import Scoring
from keras_rdanet.training.build import build_batches
from keras_rdanet.training.validation import validation_set
from keras_rdanet.weights.origin import Origin

FUNCTION = ImageFunction(lambda images: images, channels=3, name="any")


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_task_has_protocols_that_describe_themselves(task):
    assert registry.get(task).name == task
    scale = 3 if task == "super_resolution" else 1
    for channels in (1, 3):
        for protocol in registry.protocols(task, scale):
            assert protocol.describe(channels)["name"] == protocol.name
            assert (protocol.scale, protocol.paired) == (scale, False)
        (pairs,) = registry.protocols(task, scale, paired=True)
        assert pairs.describe(channels)["name"] == pairs.name
        assert (pairs.scale, pairs.paired) == (scale, True)
    assert registry.get(task).calibration(scale).scale == scale
    assert registry.get(task).verification(scale).protocol() in registry.protocols(task, scale)


def levels(task, **options):
    return [p.task.level for p in registry.protocols(task, **options)]


def test_levels_are_the_usual_ones_or_those_given():
    assert levels("gaussian_noise") == [{"sigma": s} for s in (15, 25, 50)]
    assert levels("gaussian_noise", sigma=[7]) == levels("gaussian_noise", sigma=7)
    assert levels("gaussian_noise", sigma=7, mean=3) == [{"sigma": 7, "noise_mean": 3}]
    assert levels("jpeg") == [{"quality": q} for q in (10, 20, 30, 40)]
    assert levels("jpeg", quality=(5, 6)) == [{"quality": 5}, {"quality": 6}]


def test_what_is_scored_follows_the_field():
    (rain,) = registry.protocols("rain")
    (pairs,) = registry.protocols("rain", paired=True)
    assert rain.scoring == pairs.scoring == Scoring("rounded")
    (blur,) = registry.protocols("motion_blur", paired=True)
    assert blur.scoring == Scoring()
    (mosaic,) = registry.protocols("bayer_mosaic", paired=True)
    assert mosaic.cells
    (enlarged,) = registry.protocols("super_resolution", 4, paired=True)
    assert enlarged.scoring == Scoring("exact", crop_border=4)
    # RealSR: pairs of one size
    (real,) = registry.protocols("super_resolution", paired=True, crop_border=3)
    assert (real.scale, real.scoring.crop_border) == (1, 3)


def test_real_pairs_of_a_denoiser_hold_the_noise_of_cameras():
    for name in ("gaussian_noise", "camera_noise", None):
        assert registry.of_pairs(name).name == "camera_noise"
    assert registry.of_pairs("jpeg").name == "jpeg"
    assert registry.of_pairs("jpeg", scale=2).name == "super_resolution"


def test_super_resolution_needs_a_network_that_enlarges():
    with pytest.raises(ValueError, match="needs a network that enlarges"):
        registry.protocols("super_resolution")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("fog", {}, "There is no task 'fog'; known: gaussian_noise, "),
        ("jpeg", {"sigma": 5}, "`sigma` is no option of jpeg on clean images; known: quality"),
        ("jpeg", {"paired": True, "quality": 5}, "no option of jpeg on pairs; known: none"),
        ("jpeg", {"quality": 0}, "`quality` must be an integer of 1-100"),
    ],
)
def test_wrong_names_and_options_are_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        registry.protocols(task, **options)


def test_tasks_are_made_of_mappings_and_become_mappings_again():
    for task in (
        {"name": "jpeg", "quality": (10, 40)},
        {"name": "super_resolution", "scale": 2},
        {"name": "bayer_mosaic"},
    ):
        assert registry.parse(registry.parse(task)).options() == task
    assert registry.parse({"name": "rain_streaks"}).name == "rain"  # as 0.1.0 wrote it
    assert registry.parse({"name": "bicubic", "scale": 3}).name == "super_resolution"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "needs a `name`, one of gaussian_noise"),
        ("jpeg", "needs a `name`"),
        ({"name": "jpeg"}, "jpeg needs `quality`"),
        ({"name": "jpeg", "sigma": 5}, "`sigma` is no option of jpeg; known: quality"),
        ({"name": "bayer_mosaic", "sigma": 5}, "bayer_mosaic; known: it has none"),
    ],
)
def test_wrong_mappings_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        registry.parse(value)


def test_public_sets_know_their_task():
    assert {name: task.name for name, (task, _) in registry.layouts().items()} == {
        "sidd": "camera_noise",
        "polyu": "camera_noise",
        "cc": "camera_noise",
        "realsr_x2": "super_resolution",
        "realsr_x3": "super_resolution",
        "realsr_x4": "super_resolution",
        "gopro": "motion_blur",
        "rain100": "rain",
        "rain13k": "rain",
    }
    with pytest.raises(ValueError, match=r"`layout` must be one of sidd, .*, got 'fog'"):
        registry.layout("fog")


def test_functions_say_what_they_were_trained_for():
    assert task_of(replace(FUNCTION, scale=2)) == "super_resolution"
    assert task_of(FUNCTION) is None
    assert task_of(replace(FUNCTION, origin=Origin("any", task="rain"))) == "rain"


@dataclass(frozen=True)
class Fog(Task):
    """A veil of light: a task that only this test knows."""

    density: float

    name = "fog"
    title = "fog"
    evaluation_options = (EvaluationOption("density", "number", "share of the veil", low=0),)
    layouts = {"foggy": Layout(r"fog/(.*)", r"clear/(.*)")}

    def __call__(self, target, seed):
        return (1 - self.density) * target + self.density

    @property
    def level(self):
        return {"density": self.density}

    @classmethod
    def levels(cls, scale=1, *, density=0.5):
        return [cls(density)]


@pytest.fixture
def foggy(tmp_path, monkeypatch):
    """A folder of black images, with fog in the registry."""
    monkeypatch.setitem(registry.TASKS, "fog", Fog)
    for name in ("clear", "fog"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.full((24, 24, 3), 51 * (name == "fog")))
    return tmp_path


def test_a_new_task_is_one_class_and_one_line(foggy):
    """Training, validation, layouts, the command and its options take it from the registry."""
    run = RunConfig.model_validate(
        {
            "model": {"preset": "rdn_rgb"},
            "data": {
                "train": str(foggy / "clear"),
                "phases": [{"steps": 2, "patch_size": 16, "batch_size": 1}],
            },
            "degradation": {"name": "fog", "density": 0.25},
            "schedule": {"name": "cosine", "peak": 1e-3},
            "validation": {"data": str(foggy / "clear"), "density": 0.75},
            "checkpoint_steps": 2,
        }
    )
    assert RunConfig.model_validate(json.loads(run.model_dump_json())) == run
    network = networks.build("rdn_rgb", filters=4, growth_rate=4, num_blocks=1, num_layers=1)
    degraded, target = next(iter(build_batches(run, network)))
    np.testing.assert_allclose(degraded, 0.75 * target + 0.25, atol=1e-6)
    protocol, (sample,) = validation_set(run, network)
    assert protocol.title == "fog, density 0.75"
    np.testing.assert_allclose(sample.degraded, 0.75, atol=0.003)
    pairs = run.model_copy(
        update={"validation": run.validation.model_copy(update={"data": str(foggy)})}
    )
    pairs = pairs.model_copy(
        update={"validation": pairs.validation.model_copy(update={"layout": "foggy", "level": {}})}
    )
    found, (sample,) = validation_set(pairs, network)
    assert found == Fog.pairs()
    np.testing.assert_allclose(sample.degraded, 51 / 255, atol=1e-6)


def test_the_command_offers_what_is_registered_when_it_is_loaded(foggy):
    missing = CliRunner().invoke(evaluate, ["--model", "x", "--data", str(foggy), "--task", "haze"])
    assert missing.exit_code == 2
    assert all(f"'{task}'" in missing.output for task in registry.TASKS if task != "fog")
