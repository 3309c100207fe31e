import shutil

import cv2
import numpy as np
import pytest

from keras_rdanet.config import RunConfig
from keras_rdanet.data import sources
from keras_rdanet.models import registry
from keras_rdanet.tasks import registry as tasks
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from keras_rdanet.tasks.jpeg import compress
from keras_rdanet.training.validation import validation_set

SMALL = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1}


@pytest.fixture(scope="module")
def networks():
    made = {name: registry.build(f"rdn_{name}", **SMALL) for name in ("rgb", "rgb_x3")}
    deep = {"filters": (4, 4, 4), "encoder_blocks": 1, "decoder_blocks": 1, "state": 4}
    return made | {"danet": registry.build("danet_rgb", **deep)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(3):
        image = random.integers(0, 200, (31, 45, 3), np.uint8)
        for folder, offset in (("clean", 0), ("noisy", 9)):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / f"{i}.png"), image + np.uint8(offset))
    return root


def config(images, how, **validation):
    pairs = {"target": "unused"} if how is None else {}
    return RunConfig.model_validate(
        {
            "model": {"preset": "rdn_rgb"},
            "data": {
                "train": "unused",
                **pairs,
                "phases": [{"steps": 4, "patch_size": 12, "batch_size": 1}],
            },
            "degradation": how,
            "schedule": {"name": "cosine", "peak": 1e-3},
            "validation": {"data": str(images / "clean"), **validation},
            "checkpoint_steps": 2,
        }
    )


def samples_of(run, network):
    _, samples = validation_set(run, network)
    return samples


def test_blind_noise_is_scored_at_25_with_the_papers_noise(images, networks):
    run = config(images, {"name": "gaussian_noise", "sigma": [0, 50]}, crop=20, limit=2)
    samples = samples_of(run, networks["rgb"])
    clean = cv2.imread(str(images / "clean" / "0.png"))[4:24, 12:32, ::-1]
    assert len(samples) == 2
    np.testing.assert_array_equal(samples[0].target, clean)
    noisy = clean / 255 + protocol_noise(clean.shape, 25)
    np.testing.assert_allclose(samples[0].degraded, noisy, atol=1e-6)


@pytest.mark.parametrize(
    ("trained", "asked", "expected"), [(50, None, 50), (50, 10, 10), ([0, 15], None, 15)]
)
def test_noise_is_scored_at_its_level(images, networks, trained, asked, expected):
    run = config(images, {"name": "gaussian_noise", "sigma": trained}, sigma=asked)
    (sample, *_) = samples_of(run, networks["rgb"])
    noise = sample.degraded * 255 - sample.target
    assert noise.std() == pytest.approx(expected, rel=0.05)


def test_shifted_noise_keeps_its_mean(images, networks):
    run = config(images, {"name": "gaussian_noise", "sigma": 5, "mean": 60})
    (sample, *_) = samples_of(run, networks["rgb"])
    assert (sample.degraded * 255 - sample.target).mean() == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize(("quality", "scored"), [([5, 40], 10), ([20, 40], 20), (7, 7)])
def test_compression_is_scored_at_its_quality(images, networks, quality, scored):
    run = config(images, {"name": "jpeg", "quality": quality}, crop=16)
    (sample, *_) = samples_of(run, networks["rgb"])
    clean = np.float32(sample.target) / np.float32(255)
    np.testing.assert_array_equal(sample.degraded, compress(clean, scored))


def test_validation_may_have_a_degradation_of_its_own(images, networks):
    how = {"name": "rain", "density": 1, "strength": 0.8}
    run = config(images, {"name": "rain"}, degradation=how)
    protocol, samples = validation_set(run, networks["rgb"])
    assert protocol.task.density == 1
    assert protocol.scoring.luma == "rounded"
    usual = samples_of(config(images, {"name": "rain"}), networks["rgb"])
    for sample, same in zip(samples, usual, strict=True):
        assert sample.degraded.mean() > same.degraded.mean()


@pytest.mark.parametrize(
    ("how", "network"),
    [
        ({"name": "camera_noise"}, "rgb"),
        ({"name": "jpeg", "quality": 10}, "rgb"),
        ({"name": "bayer_mosaic"}, "danet"),
        ({"name": "motion_blur"}, "rgb"),
        ({"name": "rain"}, "rgb"),
        ({"name": "super_resolution", "scale": 3}, "rgb_x3"),
        ({"name": "gaussian_noise", "sigma": 30}, "rgb"),
    ],
)
def test_whole_images_are_degraded_and_scored_as_evaluate_does(images, networks, how, network):
    network = networks[network]
    run = config(images, how, crop=None)
    level = {"gaussian_noise": {"sigma": 30}, "jpeg": {"quality": 10}}.get(how["name"], {})
    (protocol,) = tasks.protocols(how["name"], network.scale, **level)
    expected = protocol.samples(sources.folder(images / "clean"), 3)
    found, samples = validation_set(run, network)
    for sample, same in zip(samples, expected, strict=True):
        np.testing.assert_array_equal(sample.degraded, same.degraded)
        np.testing.assert_array_equal(sample.target, same.target)
    assert found.scoring == protocol.scoring
    assert found.describe(3) == protocol.describe(3)


@pytest.mark.parametrize(
    ("trained", "task"),
    [
        ({"name": "jpeg", "quality": 9}, "jpeg"),
        ({"name": "gaussian_noise", "sigma": 9}, "camera_noise"),
        (None, "camera_noise"),
    ],
)
def test_pairs_are_scored_as_the_task_of_the_run(images, networks, trained, task):
    folders = {"data": str(images / "noisy"), "target": str(images / "clean")}
    protocol, _ = validation_set(config(images, trained, **folders), networks["rgb"])
    assert [protocol] == tasks.protocols(task, paired=True)


@pytest.mark.parametrize(
    ("layout", "names", "task", "border"),
    [
        ("rain100", ("rainy/rain-1.png", "norain-1.png"), "rain", None),
        ("realsr_x2", ("1_lr2.png", "1_hr.png"), "super_resolution", 2),
    ],
)
def test_pairs_of_a_public_set_are_scored_as_its_task(
    images, networks, tmp_path, layout, names, task, border
):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(images / "clean" / "0.png", tmp_path / name)
    run = config(images, None, data=str(tmp_path), layout=layout)
    protocol, _ = validation_set(run, networks["rgb"])
    options = {} if border is None else {"crop_border": border}
    assert [protocol] == tasks.protocols(task, paired=True, **options)


def test_pairs_are_scored_as_they_are(images, networks):
    run = config(images, None, data=str(images / "noisy"), target=str(images / "clean"), crop=12)
    for sample in samples_of(run, networks["rgb"]):
        np.testing.assert_allclose(sample.degraded * 255 - sample.target, 9, atol=1e-4)
        assert sample.target.shape == (12, 12, 3)


def test_middles_of_pairs_are_of_one_place(tmp_path, networks):
    target = np.random.default_rng(0).integers(0, 256, (90, 99, 3), np.uint8)
    for name, image in (("small", target[1::3, 1::3]), ("clean", target)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), image)
    folders = {"data": str(tmp_path / "small"), "target": str(tmp_path / "clean")}
    run = config(tmp_path, None, crop=50, **folders)
    protocol, (sample,) = validation_set(run, networks["rgb_x3"])
    assert [protocol] == tasks.protocols("super_resolution", 3, paired=True)
    assert sample.target.shape == (48, 48, 3)
    np.testing.assert_array_equal(np.rint(sample.degraded * 255), sample.target[1::3, 1::3])


@pytest.mark.parametrize(("network", "smallest"), [("rgb", 11), ("rgb_x3", 20)])
def test_images_too_small_to_score_are_named(images, networks, network, smallest):
    network = networks[network]
    how = (
        {"name": "super_resolution", "scale": 3} if network.scale > 1 else {"name": "bayer_mosaic"}
    )
    run = config(images, how, crop=smallest - 1)
    with pytest.raises(ValueError, match=rf"0\.png: validation needs at least {smallest} pixels"):
        samples_of(run, network)
    protocol, (sample, *_) = validation_set(config(images, how, crop=smallest), network)
    protocol.scoring(sample.enlarged, sample.target)
