import cv2
import numpy as np
import pytest

from keras_rdanet import config as options
from keras_rdanet.config import RunConfig
from keras_rdanet.models import registry
from keras_rdanet.tasks import registry as tasks
from keras_rdanet.tasks.bayer_mosaic import mosaic
from keras_rdanet.tasks.jpeg import compress
from keras_rdanet.training.build import build_batches, build_model

SMALL = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1}
TASKS = {
    "gaussian_noise": {"sigma": [0, 50], "mean": 5},
    "camera_noise": {"shot": [1e-5, 1e-3], "jpeg_quality": [70, 95]},
    "jpeg": {"quality": [10, 40]},
    "bayer_mosaic": {},
    "super_resolution": {"scale": 2},
    "motion_blur": {"length": [1, 9]},
    "rain": {"length": 8},
}


@pytest.fixture(scope="module")
def networks():
    small = {"rgb": "rdn_rgb", "gray": "rdn_gray", "x2": "rdn_rgb_x2"}
    built = {name: registry.build(preset, **SMALL) for name, preset in small.items()}
    danet = {"filters": (4, 4), "encoder_blocks": 1, "decoder_blocks": 1, "state": 4}
    return built | {"danet": registry.build("danet_rgb", **danet)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for folder, offset in (("clean", 0), ("noisy", 9), ("other", 0)):
        (root / folder).mkdir()
        for i in range(3):
            color = random.integers(0, 200, (3, 4, 3), np.uint8)
            picture = cv2.resize(color, (48, 36)) + np.uint8(offset)
            if folder == "noisy":
                picture = cv2.imread(str(root / "clean" / f"{i}.png")) + np.uint8(offset)
            cv2.imwrite(str(root / folder / f"{i}.png"), picture)
    return root


@pytest.fixture
def config(images):
    def make(degradation=None, **changes):
        data = {"train": str(images / "clean"), **changes.pop("data", {})}
        data.setdefault("phases", [{"steps": 4, "patch_size": 16, "batch_size": 4}])
        return RunConfig.model_validate(
            {
                "model": {"preset": "rdn_rgb"},
                "data": data,
                "degradation": degradation,
                "schedule": {"name": "cosine", "peak": 1e-3},
                "checkpoint_steps": 2,
                **changes,
            }
        )

    return make


def collect(dataset):
    return [(degraded.numpy(), target.numpy()) for degraded, target in dataset]


def test_batches_of_every_task_are_tested_here():
    assert set(TASKS) == set(tasks.TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_every_degradation_makes_batches(config, networks, name):
    network = networks["x2" if name == "super_resolution" else "rgb"]
    data = collect(build_batches(config({"name": name, **TASKS[name]}), network))
    assert len(data) == 4
    side = 16 // network.scale
    for degraded, target in data:
        assert degraded.shape == (4, side, side, 3)
        assert target.shape == (4, 16, 16, 3)
        assert not np.array_equal(degraded, target)
        assert np.isfinite(degraded).all()


def test_patches_are_jpegs_of_their_targets(config, networks):
    for name, channels in (("rgb", 3), ("gray", 1)):
        made = build_batches(config({"name": "jpeg", "quality": 20}), networks[name])
        degraded, target = collect(made)[1]
        assert target.shape[-1] == channels
        for patch, clean in zip(degraded, target, strict=True):
            np.testing.assert_array_equal(patch, compress(clean, 20))


def test_patches_are_mosaics_of_their_targets(config, networks):
    degraded, target = collect(build_batches(config({"name": "bayer_mosaic"}), networks["rgb"]))[0]
    np.testing.assert_array_equal(degraded, mosaic(target))


def test_mix_takes_its_share_of_every_batch(config, networks, images):
    clean = {"train": str(images / "other"), "degradation": {"name": "jpeg", "quality": 30}}
    mixed = config(
        data={"train": str(images / "noisy"), "target": str(images / "clean")},
        mix=[{**clean, "share": 0.5}],
    )
    data = collect(build_batches(mixed, networks["rgb"]))
    for degraded, target in data:
        np.testing.assert_array_equal(np.round(255 * (degraded[:2] - target[:2])), 9)
        for patch, clean_patch in zip(degraded[2:], target[2:], strict=True):
            np.testing.assert_array_equal(patch, compress(clean_patch, 30))
    resumed = collect(build_batches(mixed, networks["rgb"], start_step=3))
    np.testing.assert_array_equal(resumed[0][0], data[3][0])


@pytest.mark.parametrize(
    ("network", "degradation", "message"),
    [
        (
            "rgb",
            {"name": "super_resolution", "scale": 2},
            "super_resolution has scale 2, .* enlarges by 1",
        ),
        (
            "x2",
            {"name": "super_resolution", "scale": 4},
            "super_resolution has scale 4, .* enlarges by 2",
        ),
        ("x2", {"name": "jpeg", "quality": 4}, "jpeg has scale 1, .* enlarges by 2"),
        ("gray", {"name": "bayer_mosaic"}, "bayer_mosaic needs RGB images"),
        ("gray", {"name": "camera_noise"}, "camera_noise needs RGB images"),
    ],
)
def test_degradations_that_do_not_suit_the_network(config, networks, network, degradation, message):
    with pytest.raises(ValueError, match=message):
        build_batches(config(degradation), networks[network])


def test_patches_that_do_not_suit_the_network(config, networks):
    odd = [{"steps": 4, "patch_size": 17, "batch_size": 1}]
    jpeg = {"name": "jpeg", "quality": 10}
    with pytest.raises(ValueError, match=r"`patch_size` 17 .* multiples of 2"):
        build_batches(config(jpeg, data={"phases": odd}), networks["danet"])


def test_patches_that_do_not_suit_the_degradation(config, networks):
    blur = {"name": "motion_blur", "length": 25}
    with pytest.raises(ValueError, match=r"^Kernels of 27x27 pixels are too large .* 12x12"):
        build_batches(
            config(blur, data={"phases": [{"steps": 4, "patch_size": 12, "batch_size": 1}]}),
            networks["rgb"],
        )


@pytest.mark.parametrize("weights", ["tsp_rdanet_tiny_gray", "tsp_rdanet_tiny_rgb"])
def test_weights_of_another_network_are_named(config, weights):
    model = options.ModelOptions(preset="rdn_rgb", overrides=SMALL, weights=weights)
    run = config({"name": "bayer_mosaic"}).model_copy(update={"model": model})
    with pytest.raises(ValueError, match=rf"{weights} are of another network than rdn_rgb"):
        build_model(run)


@pytest.mark.parametrize(
    ("preset", "override", "value"),
    [
        ("rdn_rgb", "num_blocks", "three"),
        ("rdn_rgb", "num_blocks", 0),
        ("rdn_rgb", "num_blocks", True),
        ("rdn_rgb", "predicts_noise", 1),
        ("danet_rgb", "filters", 64),
        ("danet_rgb", "filters", []),
        ("danet_rgb", "filters", [64, 1.5]),
        ("danet_rgb", "encoder", None),
        ("panet_rgb", "res_scale", -0.1),
        ("panet_rgb", "res_scale", "small"),
    ],
)
def test_overrides_of_another_kind_are_named(config, preset, override, value):
    run = config({"name": "bayer_mosaic"})
    model = options.ModelOptions(preset=preset, overrides={override: value})
    with pytest.raises(ValueError, match=rf"`model\.overrides\.{override}` must be of the kind of"):
        build_model(run.model_copy(update={"model": model}))


def test_overrides_may_be_lists_and_whole_numbers(config):
    overrides = {**SMALL, "kernel_size": 5}
    for preset, values in (
        ("rdn_rgb", overrides),
        ("danet_rgb", {"filters": [4, 4], "encoder_blocks": 1, "decoder_blocks": 1, "state": 4}),
        ("panet_rgb", {"filters": 4, "num_blocks": 2, "res_scale": 1}),
    ):
        run = config({"name": "bayer_mosaic"})
        model = options.ModelOptions(preset=preset, overrides=values)
        made = build_model(run.model_copy(update={"model": model})).get_config()
        for name, value in values.items():
            assert made[name] == (tuple(value) if isinstance(value, list) else value)
