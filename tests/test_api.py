import doctest
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_rdanet as kr
from keras_rdanet.export.exporter import export
from keras_rdanet.image.io import Picture, read_picture, write_picture
from keras_rdanet.models import registry
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from keras_rdanet.weights import catalogue, store

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.png"
GOLDEN = ROOT / "tests" / "golden" / "tsp_rdanet_gray_nc8_bias_38x30.npz"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the examples read, in which they run."""
    photo = read_picture(PHOTO).samples
    for folder in ("photos", "set12"):
        (tmp_path / folder).mkdir()
        for i, name in enumerate(("a.png", "b.png")):
            crop = photo[60 : 60 + 64, 100 + 64 * i : 164 + 64 * i]
            write_picture(tmp_path / folder / name, Picture(crop))
    noisy = photo[:64, :80] + 255 * protocol_noise((64, 80, 3), 25)
    write_picture(tmp_path / "noisy.png", Picture(np.clip(noisy, 0, 255).astype(np.uint8)))
    golden = np.load(GOLDEN)
    tensors = {name[6:]: golden[name] for name in golden if name.startswith("param/")}
    np.savez(tmp_path / "original.npz", **tensors)
    monkeypatch.chdir(tmp_path)
    return tmp_path


EXAMPLES = [
    kr.create_model,
    kr.dataset,
    kr.save_weights,
    kr.convert,
    kr.evaluate,
    kr.restore_file,
    kr.restore_folder,
    kr.Restorer.__call__,
    kr.losses.Charbonnier,
    export,
]


@pytest.mark.parametrize("function", EXAMPLES, ids=lambda function: function.__qualname__)
def test_the_example_of_every_public_function_runs(function, workplace):
    (test,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert test.examples
    said = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert said == []


def test_all_public_names_resolve_and_are_listed():
    assert set(kr.__all__) == set(dir(kr))
    for name in kr.__all__:
        assert getattr(kr, name) is not None
    assert kr.metrics.PSNR.__name__ == "PSNR"
    assert kr.tasks.GaussianNoise(sigma=25).sigma == 25
    with pytest.raises(AttributeError, match="no attribute 'restor'"):
        kr.restor  # noqa: B018


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quickstart_runs_on_small_pictures(workplace):
    model = registry.build("panet_rgb")
    store.save_weights(model, "ours.safetensors")
    tensors = {
        name.replace("/kernel", "/weight").replace("/", "."): array.transpose(3, 2, 0, 1)
        if array.ndim == 4
        else array
        for name, array in store.read_tensors("ours.safetensors").items()
    }
    np.savez("panet.npz", **tensors)
    options = "--checkpoint panet.npz --patch-size 16 --steps 1 --epochs 1 --size 64 --force"
    script = [sys.executable, str(ROOT / "examples" / "quickstart.py"), *options.split()]
    done = subprocess.run(script, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.splitlines()[-1]) > 15
    assert registry.load("mine.safetensors").origin.task == "gaussian_noise"
    assert registry.load("panet.safetensors").origin.task == "gaussian_noise"
    assert {"model_fp32.onnx", "model_int8.tflite"} <= {file.name for file in Path("out").iterdir()}
    assert read_picture("clean.png").samples.shape == (64, 80, 3)


def test_a_model_without_shipped_weights_says_what_to_do():
    with pytest.raises(ValueError, match=r"No weights ship for rdn_rgb; `weights=None`"):
        kr.create_model("rdn_rgb")
    with pytest.raises(ValueError, match="There is no network 'rdn_rbg'"):
        kr.create_model("rdn_rbg")
    with pytest.raises(ValueError, match="`weights` must be 'default' or None"):
        kr.create_model("rdn_rgb", weights="mine.safetensors")


def test_precision_follows_the_global_policy_unless_it_is_given():
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert kr.create_model("tsp_rdanet_tiny_gray").compute_dtype == "bfloat16"
        exact = kr.create_model("tsp_rdanet_tiny_gray", precision="float32")
        assert exact.compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_saved_weights_keep_what_is_known_of_them(tmp_path):
    model = kr.create_model("tsp_rdanet_tiny_gray")
    kr.save_weights(model, tmp_path / "copy.safetensors", description="a copy", dtype="float16")
    origin = kr.create_model(tmp_path / "copy.safetensors").origin
    entry = catalogue.resolve("tsp_rdanet_tiny_gray")
    assert (origin.task, origin.license) == (entry.task, entry.license)
    assert (origin.weights, origin.description) == ("copy.safetensors", "a copy")
    made_by_class = type(model)(filters=8, channels=1, use_bias=False, image_residual=True)
    with pytest.raises(ValueError, match="was made by its class"):
        kr.save_weights(made_by_class, tmp_path / "mine.safetensors")


def test_evaluation_takes_the_task_of_the_model_and_the_middle_level(workplace):
    result = kr.evaluate("tsp_rdanet_tiny_rgb", "photos", limit=1)
    assert result.protocol["sigma"] == 25
    assert result.method["sha256"] == catalogue.resolve("tsp_rdanet_tiny_rgb").sha256
    with pytest.raises(ValueError, match=r"`sigma` takes one value"):
        kr.evaluate("tsp_rdanet_tiny_rgb", "photos", sigma=(15, 25))
    with pytest.raises(ValueError, match="`quality` is no option of gaussian_noise"):
        kr.evaluate("tsp_rdanet_tiny_rgb", "photos", quality=10)
    fresh = kr.create_model("rdn_rgb", weights=None, num_blocks=1)
    with pytest.raises(ValueError, match="does not say what it was trained for; give a `task`"):
        kr.evaluate(fresh, "photos")


def test_pairs_train_and_are_scored(workplace):
    model = kr.create_model("rdn_rgb", weights=None, num_blocks=1)
    data = kr.dataset("photos", model, None, target="set12", patch_size=8, batch_size=2, steps=1)
    ((degraded, target),) = list(data)
    np.testing.assert_array_equal(degraded, target)  # the test wrote the same pictures twice
    result = kr.evaluate(model, "photos", target="set12", task="camera_noise")
    assert result.mean("psnr_degraded") == float("inf")
    with pytest.raises(ValueError, match="Give either a `task`"):
        kr.dataset("photos", model, None)


def test_options_of_files_and_of_the_restorer_go_where_they_belong(workplace):
    restorer = kr.Restorer("tsp_rdanet_tiny_rgb", tile=32)
    facts = kr.restore_file("noisy.png", "out.tif", restorer, strip_metadata=True)
    assert (facts["height"], facts["width"]) == (64, 80)
    kr.restore_file("noisy.png", "same.png", strength=0)
    np.testing.assert_array_equal(Image.open("same.png"), Image.open("noisy.png"))
    with pytest.raises(TypeError, match="strenght"):
        kr.restore_file("noisy.png", "out.png", strenght=0.5)
    with pytest.raises(TypeError, match="has its options already"):
        kr.restore_file("noisy.png", "out.png", restorer, strength=0.5)


def test_the_former_home_of_the_noise_still_works():
    with pytest.warns(DeprecationWarning, match=r"keras_rdanet\.tasks"):
        from keras_rdanet.degradations.noise import GaussianNoise
    assert GaussianNoise is kr.tasks.GaussianNoise
