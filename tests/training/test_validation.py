import cv2
import numpy as np
import pytest

from keras_rdanet.config import RunConfig
from keras_rdanet.degradations.jpeg import compress
from keras_rdanet.degradations.noise import protocol_noise
from keras_rdanet.models import registry
from keras_rdanet.training.validation import validation_samples

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


def test_blind_noise_is_scored_at_25_with_the_papers_noise(images, networks):
    run = config(images, {"name": "gaussian_noise", "sigma": [0, 50]}, crop=20, limit=2)
    samples = validation_samples(run, networks["rgb"])
    whole = cv2.imread(str(images / "clean" / "0.png"))[..., ::-1]
    middle = np.s_[5:25, 12:32]
    assert len(samples) == 2
    np.testing.assert_array_equal(samples[0].target, whole[middle])
    noisy = whole / 255 + protocol_noise(whole.shape, 25)
    np.testing.assert_allclose(samples[0].degraded, noisy[middle], atol=1e-6)


@pytest.mark.parametrize(("trained", "asked", "expected"), [(50, None, 50), (50, 10, 10)])
def test_noise_of_one_level_is_scored_at_it(images, networks, trained, asked, expected):
    run = config(images, {"name": "gaussian_noise", "sigma": trained}, sigma=asked)
    (sample, *_) = validation_samples(run, networks["rgb"])
    noise = sample.degraded * 255 - sample.target
    assert noise.std() == pytest.approx(expected, rel=0.05)


def test_shifted_noise_keeps_its_mean(images, networks):
    run = config(images, {"name": "gaussian_noise", "sigma": 5, "mean": 60})
    (sample, *_) = validation_samples(run, networks["rgb"])
    assert (sample.degraded * 255 - sample.target).mean() == pytest.approx(60, abs=0.5)


def test_other_tasks_are_scored_with_their_own_degradation(images, networks):
    run = config(images, {"name": "jpeg", "quality": [10, 40]}, crop=16)
    again = validation_samples(run, networks["rgb"])
    for sample, same in zip(validation_samples(run, networks["rgb"]), again, strict=True):
        np.testing.assert_array_equal(sample.degraded, same.degraded)
    fixed = config(
        images, {"name": "jpeg", "quality": 9}, degradation={"name": "jpeg", "quality": 7}
    )
    (sample, *_) = validation_samples(fixed, networks["rgb"])
    clean = np.float32(sample.target) / np.float32(255)
    np.testing.assert_array_equal(sample.degraded, compress(clean, 7))


def test_super_resolution_is_scored_on_multiples_of_its_scale(images, networks):
    run = config(images, {"name": "bicubic", "scale": 3}, crop=None)
    (sample, *_) = validation_samples(run, networks["rgb_x3"])
    assert sample.target.shape == (30, 45, 3)
    assert sample.degraded.shape == (10, 15, 3)


def test_crops_suit_networks_that_need_multiples(images, networks):
    run = config(images, {"name": "bayer_mosaic"}, crop=None)
    (sample, *_) = validation_samples(run, networks["danet"])
    assert sample.target.shape == sample.degraded.shape == (28, 44, 3)


def test_pairs_are_scored_as_they_are(images, networks):
    run = config(images, None, data=str(images / "noisy"), target=str(images / "clean"), crop=8)
    for sample in validation_samples(run, networks["rgb"]):
        np.testing.assert_allclose(sample.degraded * 255 - sample.target, 9, atol=1e-4)
        assert sample.target.shape == (8, 8, 3)


def test_images_too_small_to_score_are_named(images, networks):
    run = config(images, {"name": "bayer_mosaic"}, crop=2)
    with pytest.raises(ValueError, match=r"0\.png: validation needs at least 4 pixels"):
        validation_samples(run, networks["danet"])
