import sys

import numpy as np
import pytest

from keras_rdanet.inference import open as opening
from keras_rdanet.inference.open import (
    family_members,
    is_export,
    is_file,
    open_model,
    rgb_sibling,
)
from keras_rdanet.weights.catalogue import list_models
from tests.inference.functions import blurring


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained network of 8 filters as a file."""
    from keras_rdanet.models import registry
    from keras_rdanet.weights import store

    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    model = registry.build("tsp_rdanet_tiny_gray", filters=8)
    metadata = {"preset": "tsp_rdanet_tiny_gray", "overrides": {"filters": 8}}
    store.save_weights(model, path, metadata=metadata)
    return path, model


def test_a_weights_file_computes_what_its_model_computes(weights):
    path, model = weights
    images = np.random.default_rng(0).random((1, 12, 9, 1), np.float32)
    function = open_model(path)
    assert (function.channels, function.support, function.precision) == (
        1,
        "global_pool",
        "float32",
    )
    np.testing.assert_array_equal(function(images), model.image_function()(images))
    assert np.abs(function(images) - images).max() > 1e-3


def test_precision_is_that_of_the_opened_network(weights):
    assert open_model(str(weights[0]), precision="bfloat16").precision == "bfloat16"


def test_models_and_functions_pass_straight_through(weights):
    function = blurring()
    assert open_model(function) is function
    assert open_model(weights[1]).channels == 1


def test_what_is_open_keeps_its_precision(weights):
    for model in (blurring(), weights[1]):
        with pytest.raises(ValueError, match="computes in float32, not in bfloat16"):
            open_model(model, precision="bfloat16")


def test_a_loader_of_another_kind_of_file_is_found_by_its_suffix(monkeypatch, tmp_path):
    monkeypatch.setitem(opening.OPENERS, ".blur", load_blur)
    (tmp_path / "three.BLUR").write_text("3")
    assert open_model(tmp_path / "three.BLUR").radius == 3


def load_blur(path, precision):
    return blurring(times=int(path.read_text()), precision=precision or "float32")


def test_exports_are_told_from_weights_and_names(weights, tmp_path):
    (tmp_path / "model.TFLITE").touch()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert is_export(str(tmp_path / "saved"))
    assert is_export(tmp_path / "model.TFLITE")
    assert not is_export(weights[0])
    assert not is_export("tsp_rdanet_tiny_gray")


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not a model file; known kinds: .*SavedModel folders"):
        is_file(tmp_path)
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no model file .*model\.onnx"):
        is_file(tmp_path / "model.onnx")


def test_families_name_their_members_and_keep_the_tag():
    gray, rgb = family_members("tsp_rdanet_tiny.awgn")
    assert (gray, rgb) == ("tsp_rdanet_tiny_gray.awgn", "tsp_rdanet_tiny_rgb.awgn")
    assert family_members("tsp_rdanet_tiny_gray") is None
    assert rgb_sibling("tsp_rdanet_small_gray.awgn") == "tsp_rdanet_small_rgb.awgn"
    # A denoiser is no help with JPEG artefacts.
    jpeg = {entry.name for entry in list_models() if entry.task == "jpeg" and entry.channels == 3}
    assert rgb_sibling("tsp_rdanet_tiny_gray.jpeg") in (jpeg or {None})


def test_a_family_needs_to_know_the_channels():
    with pytest.raises(ValueError, match="tsp_rdanet_tiny_gray and tsp_rdanet_tiny_rgb"):
        open_model("tsp_rdanet_tiny")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("no_such_network", ValueError, "no_such_network"),
        ("missing.safetensors", FileNotFoundError, "no model file missing.safetensors"),
        ("folder/model.h5", ValueError, "known kinds: .safetensors"),
        (7, TypeError, "got int"),
    ],
)
def test_other_things_are_one_clear_error(model, error, message):
    with pytest.raises(error, match=message):
        open_model(model)


def test_an_existing_file_of_another_kind_is_not_taken_for_a_name(tmp_path, monkeypatch):
    (tmp_path / "model.h5").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not a model file"):
        is_file("model.h5")
    assert not is_file("tsp_rdanet_tiny_gray.awgn")


def test_a_missing_framework_names_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras_rdanet.models", raising=False)
    monkeypatch.setitem(sys.modules, "keras_rdanet.models.registry", None)
    with pytest.raises(ImportError, match=r"keras-rdanet\[train\]"):
        family_members("tsp_rdanet_tiny")
