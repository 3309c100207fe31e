import importlib
import io
import json
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_rdanet import registration
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.keras_metrics import PSNR
from keras_rdanet.losses import Charbonnier
from keras_rdanet.models import registry
from keras_rdanet.models.rdn import RDN
from keras_rdanet.models.tsp_rdanet import TSPRDANet

PRESET = "tsp_rdanet_tiny_gray"
SMALL = {
    PRESET: {"filters": 8},
    "rdn_gray": {"num_blocks": 1, "num_layers": 2, "filters": 8, "growth_rate": 8},
}


@pytest.fixture
def image():
    return np.random.default_rng(0).random((1, 12, 16, 1), np.float32)


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def small(preset):
    return registry.build(preset, **SMALL[preset])


def restored(model, images):
    outputs = model.predict_on_batch(images)
    return np.asarray(outputs[model.stages[-1]] if model.stages else outputs)


@pytest.mark.parametrize("preset", SMALL)
def test_networks_are_of_nhwc_images_whatever_the_data_format(preset, image, tmp_path, request):
    model = small(preset)
    expected = restored(model, image)
    model.save(tmp_path / "model.keras")
    request.getfixturevalue("channels_first")
    again = small(preset)
    again.set_weights(model.get_weights())
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for network in (model, again, loaded):
        np.testing.assert_allclose(restored(network, image), expected, atol=1e-6)
    assert keras.config.image_data_format() == "channels_first"


@pytest.mark.parametrize("loss", ["mae", Charbonnier(), keras.losses.mean_absolute_error])
def test_one_loss_serves_all_stages_and_metrics_watch_the_last(image, loss):
    model = small(PRESET)
    model.compile("sgd", loss, metrics=[PSNR()])
    logs = model.train_on_batch(image, model.targets(image), return_dict=True)
    stages = logs["stage1_loss"] + logs["stage2_loss"]
    assert logs["loss"] == pytest.approx(stages, rel=1e-5)
    assert {"stage2_psnr"} == {name for name in logs if "psnr" in name}


def test_a_loss_for_each_stage_stays_what_it_is(image):
    model = small(PRESET)
    expected = np.abs(restored(model, image) - image).mean()
    model.compile("sgd", {"stage1": None, "stage2": "mae"}, metrics={"stage1": [PSNR()]})
    logs = model.train_on_batch(image, model.targets(image), return_dict=True)
    assert "stage1_psnr" in logs
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_network_of_one_stage_compiles_as_in_keras(image):
    model = small("rdn_gray")
    model.compile("sgd", "mae", metrics=[PSNR()])
    logs = model.train_on_batch(image, model.targets(image), return_dict=True)
    assert set(logs) == {"loss", "psnr"}


def test_a_keras_file_goes_on_training_where_it_was(image, tmp_path):
    model = small(PRESET)
    model.compile("adam", Charbonnier(), metrics=[PSNR()])
    model.train_on_batch(image, model.targets(image))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.origin == model.origin
    logs = [m.train_on_batch(image, m.targets(image), return_dict=True) for m in (model, loaded)]
    assert logs[0] == pytest.approx(logs[1])


def test_quantizing_points_to_the_export():
    with pytest.raises(ValueError, match=r"keras_rdanet\.export\(.*int8") as caught:
        small(PRESET).quantize("int8")
    assert "\n" not in str(caught.value)


def test_presets_come_with_trained_weights_where_they_ship():
    trained = TSPRDANet.from_preset(PRESET)
    assert trained.origin == registry.load(PRESET).origin
    assert TSPRDANet.from_preset(f"{PRESET}.jpeg").origin.task == "jpeg"
    fresh = TSPRDANet.from_preset(PRESET, load_weights=False)
    assert fresh.origin.weights is None
    assert np.abs(fresh.get_weights()[0] - trained.get_weights()[0]).max() > 1e-3
    assert RDN.from_preset("rdn_gray").origin.weights is None
    with pytest.raises(ValueError, match=r"without \['filters'\].*load_weights=False"):
        TSPRDANet.from_preset(PRESET, filters=8)
    with pytest.raises(ValueError, match=r"No weights called 'rdn_gray\.jpeg'"):
        RDN.from_preset("rdn_gray.jpeg")


# --- .keras files


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("imports", ["import keras_rdanet, keras", "import keras, keras_rdanet"])
def test_keras_files_load_after_importing_the_package_alone(imports, tmp_path):
    model = small(PRESET)
    model.compile("adam", Charbonnier(), metrics=[PSNR()])
    model.save(tmp_path / "model.keras")
    code = f"{imports}\nprint(type(keras.saving.load_model('model.keras')).__name__)"
    assert run(code, tmp_path) == "TSPRDANet"


def test_all_our_registered_classes_are_found_by_name():
    found = set(registration.classes())
    for module, _ in found:
        importlib.import_module(module)
    registered = {
        (known.__module__, known.__name__)
        for name, known in keras.saving.get_custom_objects().items()
        if name.startswith("keras_rdanet>") and known.__module__.startswith("keras_rdanet.")
    }
    assert registered == found
    assert ("keras_rdanet.models.rdn", "ResidualDenseBlock") in found


@pytest.mark.parametrize("preset", SMALL)
def test_keras_files_restore(preset, image, tmp_path):
    model = small(preset)
    path = tmp_path / "model.keras"
    model.save(path)
    restorer = Restorer(path, precision="float32")
    np.testing.assert_allclose(restorer(image[0]), restored(model, image)[0], atol=1e-6)
    origin = restorer.function_for(1, "float32").origin
    assert (origin.preset, origin.overrides, origin.weights) == (preset, SMALL[preset], path.name)


def test_a_keras_file_without_origin_is_told_by_its_arguments(tmp_path):
    model = RDN(**{**RDN.PRESETS["rdn_gray"], **SMALL["rdn_gray"]})
    model.save(tmp_path / "model.keras")
    origin = registry.load(tmp_path / "model.keras").origin
    assert (origin.preset, origin.overrides) == ("rdn_gray", SMALL["rdn_gray"])


def with_config(path, change):
    """Write a `.keras` file whose config is changed."""
    small(PRESET).save(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    change(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(registered_name="other>Net"), "holds a Net, not one of our networks"),
        (lambda c: c.update(registered_name="Functional"), "holds a Functional, not one of"),
        (lambda c: c.update(registered_name="keras_rdanet>PSNR"), "holds a PSNR, not one of"),
        (lambda c: c["config"].update(filters=10**6), "filters = 1000000"),
        (lambda c: c["config"].update(filters={"class_name": "__lambda__"}), "override filters"),
        (lambda c: c["config"].update(depth=3), "damaged or of another version"),
        (lambda c: c["config"].update(filters=9), "does not fit the network that it asks for"),
        (lambda c: c["config"].update(filters=512), "does not fit the network that it asks for"),
        (lambda c: c["config"].update(initialization={"module": "os"}), "override initialization"),
        (lambda c: c.update(registered_name="keras>Lambda"), "holds a Lambda, not one of"),
        (lambda c: c.update(registered_name=5), r"damaged or not a \.keras file"),
        (lambda c: c["config"].update(origin={"preset": "mine"}), "one of our presets"),
        (lambda c: c["config"].update(origin={"preset": ["rdn_gray"]}), "one of our presets"),
        (
            lambda c: c["config"]["origin"].update(overrides=5),
            r"damaged or not a \.keras file of this version: `overrides` of a model cannot be 5",
        ),
        (lambda c: c.pop("config"), r"damaged or not a \.keras file"),
    ],
)
def test_other_classes_and_damaged_files_are_one_clear_error(change, message, tmp_path):
    path = tmp_path / "model.keras"
    with_config(path, change)
    with pytest.raises(ValueError, match=message):
        Restorer(path)(np.zeros((8, 8), np.float32))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"damaged or not a \.keras file"):
        registry.load(tmp_path / "model.keras")


def with_weights(path, change):
    """Write a `.keras` file whose weights are changed."""
    small(PRESET).save(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, "model.weights.h5": weights.getvalue()}.items():
            archive.writestr(name, content)


def first_array(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found[0]


def store_elsewhere(file):
    name = first_array(file)
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def link_elsewhere(file):
    name = first_array(file)
    del file[name]
    file[name] = h5py.ExternalLink("other.h5", "/")


def claim_much(file):
    name = first_array(file)
    del file[name]
    file.create_dataset(name, (10**5, 10**5), "f4")


def be_nan(file):
    file[first_array(file)][...] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (store_elsewhere, "in another file"),
        (link_elsewhere, "a link to something else"),
        (claim_much, "would take 40000000000 B"),
        (be_nan, "Not finite"),
    ],
)
def test_weights_in_a_keras_file_that_are_not_its_own_or_not_finite(change, message, tmp_path):
    path = tmp_path / "model.keras"
    with_weights(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        registry.load(path)
    assert "model.keras" in str(caught.value)


def test_stages_share_one_target_given_as_an_array():
    model = small(PRESET)
    model.compile("adam", "mae", metrics=[PSNR()])
    images = np.random.default_rng(0).random((2, 16, 16, model.channels), np.float32)
    history = model.fit(images, images, batch_size=2, verbose=0).history
    assert history["loss"][0] > 0
    scores = model.evaluate(images, images, batch_size=2, verbose=0, return_dict=True)
    restored = model.predict(images, verbose=0)[model.stages[-1]]
    expected = np.mean(
        [
            -10 * np.log10(np.mean((np.clip(r, 0, 1) - i) ** 2))
            for r, i in zip(restored, images, strict=True)
        ]
    )
    (psnr,) = (value for name, value in scores.items() if name.endswith("psnr"))
    assert psnr == pytest.approx(expected, abs=1e-3)
