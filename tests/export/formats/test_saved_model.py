import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_rdanet.export.formats.saved_model import export_saved_model
from keras_rdanet.image.io import read_picture
from keras_rdanet.inference.open import open_model
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta

OVERRIDES = {
    "tsp_rdanet_tiny_gray": {"filters": 8},
    "rdn_rgb_x2": {"num_blocks": 1, "filters": 4, "growth_rate": 4},
}


def exported(preset, folder):
    overrides = OVERRIDES[preset]
    model = registry.build(preset, **overrides)
    metadata = meta.describe(model, preset, overrides=overrides)
    return model, export_saved_model(model, folder / preset, metadata)


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """A gray network of 8 filters and its SavedModel, loaded."""
    model, path = exported("tsp_rdanet_tiny_gray", tmp_path_factory.mktemp("saved"))
    return model, path, tf.saved_model.load(str(path))


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """An RGB network that enlarges twice, and its SavedModel, loaded."""
    model, path = exported("rdn_rgb_x2", tmp_path_factory.mktemp("saved"))
    return model, path, tf.saved_model.load(str(path))


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize(
    "shape", [(1, 16, 16, 1), (3, 4, 4, 1), (2, 13, 7, 1), (1, 5, 32, 1), (1, 33, 31, 1)]
)
def test_the_default_signature_gives_what_keras_gives(gray, shape):
    model, _, loaded = gray
    degraded = noise(*shape)
    restored = loaded.signatures["serving_default"](degraded=tf.constant(degraded))["restored"]
    np.testing.assert_allclose(restored, model.image_function()(degraded), rtol=0, atol=1e-5)


def test_bytes_of_integers_come_back_rounded(gray):
    model, _, loaded = gray
    degraded = np.random.default_rng(1).integers(0, 256, (2, 9, 6, 1), np.uint8)
    restored = loaded.signatures["serve_uint8"](degraded=tf.constant(degraded))["restored"]
    expected = model.image_function()(degraded / np.float32(255))
    expected = np.rint(np.clip(expected, 0, 1) * 255).astype(np.uint8)
    assert (restored.numpy() != expected).mean() < 0.01  # where rounding stood on the edge
    assert np.abs(restored.numpy().astype(int) - expected).max() <= 1


def test_small_pictures_are_padded_by_reflection(gray):
    model, _, loaded = gray
    degraded = np.array([[10, 200]], np.uint8)[None, ..., None]
    padded = np.tile(degraded, (1, 4, 2, 1))  # 10 200 10 200, four times
    expected = model.image_function()(padded / np.float32(255))[:, :1, :2]
    restored = loaded.signatures["serve_uint8"](degraded=tf.constant(degraded))["restored"]
    np.testing.assert_allclose(restored, np.clip(expected, 0, 1) * 255, atol=0.51)


def test_encoded_pictures_of_any_sizes_come_back_as_png(gray):
    _, _, loaded = gray
    pictures = [(noise(*shape) * 255).astype(np.uint8) for shape in [(12, 9), (1, 7), (30, 41)]]
    encoded = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    results = loaded.signatures["serve_bytes"](degraded_bytes=tf.constant(encoded))
    for picture, result in zip(pictures, results["restored_bytes"].numpy(), strict=True):
        assert result.startswith(b"\x89PNG")
        restored = cv2.imdecode(np.frombuffer(result, np.uint8), cv2.IMREAD_UNCHANGED)
        alone = loaded.signatures["serve_uint8"](degraded=tf.constant(picture[None, ..., None]))
        assert np.abs(alone["restored"].numpy()[0, ..., 0].astype(int) - restored).max() <= 1


def test_deep_pictures_reach_the_network_in_full_depth(gray):
    model, _, loaded = gray
    picture = np.random.default_rng(2).integers(0, 2**16, (8, 8), np.uint16)
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    result = loaded.signatures["serve_bytes"](degraded_bytes=tf.constant([encoded]))
    restored = cv2.imdecode(np.frombuffer(result["restored_bytes"].numpy()[0], np.uint8), -1)
    expected = model.image_function()(picture[None, ..., None] / np.float32(65535))[0, ..., 0]
    np.testing.assert_allclose(restored, np.clip(expected, 0, 1) * 255, atol=0.51)


def test_colours_keep_their_order_and_pictures_grow(doubling):
    model, _, loaded = doubling
    picture = np.random.default_rng(3).integers(0, 256, (6, 5, 3), np.uint8)
    encoded = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    result = loaded.signatures["serve_bytes"](degraded_bytes=tf.constant([encoded]))
    restored = cv2.imdecode(np.frombuffer(result["restored_bytes"].numpy()[0], np.uint8), 1)
    expected = model.image_function()(picture[None] / np.float32(255))[0]
    assert restored.shape == (12, 10, 3)
    np.testing.assert_allclose(restored[..., ::-1], np.clip(expected, 0, 1) * 255, atol=0.51)


def test_a_jpeg_with_colours_reaches_a_gray_network_as_gray(gray):
    picture = cv2.GaussianBlur((noise(16, 24, 3) * 255).astype(np.uint8), (0, 0), 3)
    encoded = cv2.imencode(".jpg", picture)[1].tobytes()
    result = gray[2].signatures["serve_bytes"](degraded_bytes=tf.constant([encoded]))
    restored = cv2.imdecode(np.frombuffer(result["restored_bytes"].numpy()[0], np.uint8), -1)
    assert restored.shape == (16, 24)


def test_threads_share_a_loaded_model(gray):
    serve = gray[2].signatures["serving_default"]
    images = [tf.constant(noise(1, 8 + i % 3, 9, 1)) for i in range(40)]
    alone = [serve(degraded=image)["restored"].numpy() for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: serve(degraded=image)["restored"].numpy(), images))
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_weights_can_be_trained_on(gray):
    loaded = gray[2]
    assert len(loaded.trainable_variables) == len(gray[0].trainable_variables)
    with tf.GradientTape() as tape:
        restored = loaded.serving_default(tf.constant(noise(1, 8, 8, 1)))["restored"]
        loss = tf.reduce_mean(restored**2)
    gradients = tape.gradient(loss, loaded.trainable_variables)
    assert sum(float(tf.reduce_sum(tf.abs(g))) for g in gradients if g is not None) > 0


def test_no_class_of_ours_or_of_keras_is_needed_to_load_it(gray):
    code = f"""
import sys
sys.modules["keras"] = None
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load({str(gray[1])!r})
serve = loaded.signatures["serving_default"]
print(float(serve(degraded=tf.ones((1, 8, 8, 1)))["restored"].numpy().sum()))
assert not [name for name in sys.modules if name.startswith("keras_rdanet")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = gray[0].image_function()(np.ones((1, 8, 8, 1), np.float32)).sum()
    assert float(done.stdout) == pytest.approx(float(expected), abs=1e-4)


def test_it_opens_as_a_model_that_knows_how_to_be_tiled(doubling):
    model, path, _ = doubling
    function = open_model(path)
    assert (function.channels, function.scale, function.name) == (3, 2, "rdn_rgb_x2")
    assert (function.support, function.radius) == (model.support, model.radius)
    degraded = noise(1, 7, 9, 3)
    expected = model.image_function()(degraded)
    np.testing.assert_allclose(function(degraded), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="computes in float32, not in bfloat16"):
        open_model(path, precision="bfloat16")


def test_another_saved_model_is_refused(gray, tmp_path):
    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="does not say which network it is"):
        open_model(tmp_path / "other")


def test_only_a_saved_model_is_replaced(doubling, tmp_path):
    model, path, _ = doubling
    metadata = meta.from_json((path / "assets.extra" / meta.FILE_NAME).read_bytes())
    (tmp_path / "holiday").mkdir()
    with pytest.raises(FileExistsError, match="holiday exists and is not a SavedModel"):
        export_saved_model(model, tmp_path / "holiday", metadata)
    target = tmp_path / "model"
    target.mkdir()
    (target / "saved_model.pb").touch()
    (target / "stale").touch()
    export_saved_model(model, target, metadata)
    assert not (target / "stale").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["holiday", "model"]
    assert json.loads((target / "assets.extra" / meta.FILE_NAME).read_text())["channels"] == 3


def test_photos_are_turned_upright_as_their_exif_says(doubling, tmp_path):
    """A phone stores its sensor's rows; `restore` shows them as they were seen."""
    model, _, loaded = doubling
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (5, 8, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "phone.png", exif=exif)
    content = (tmp_path / "phone.png").read_bytes()
    result = loaded.signatures["serve_bytes"](degraded_bytes=tf.constant([content]))
    restored = tf.io.decode_png(result["restored_bytes"][0]).numpy()
    seen = read_picture(tmp_path / "phone.png").samples
    assert seen.shape == (32, 20, 3)
    expected = model.image_function()(seen[None] / np.float32(255))[0]
    assert np.abs(restored - np.clip(expected, 0, 1) * 255).max() <= 1


def test_jpegs_are_decoded_as_restore_decodes_them(doubling, tmp_path):
    model, _, loaded = doubling
    coarse = np.random.default_rng(4).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(cv2.resize(coarse, (40, 32))).save(tmp_path / "photo.jpg", quality=60)
    content = (tmp_path / "photo.jpg").read_bytes()
    result = loaded.signatures["serve_bytes"](degraded_bytes=tf.constant([content]))
    restored = tf.io.decode_png(result["restored_bytes"][0]).numpy()
    seen = read_picture(tmp_path / "photo.jpg").samples
    expected = model.image_function()(seen[None] / np.float32(255))[0]
    assert np.abs(restored - np.clip(expected, 0, 1) * 255).max() <= 3
