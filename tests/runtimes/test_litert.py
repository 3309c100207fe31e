import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.export.formats import tflite
from keras_rdanet.inference.open import open_model
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.litert import open_file

README = Path(__file__).parents[2] / "README.md"

PRESET = "rdn_gray"
OVERRIDES = {"num_blocks": 1, "filters": 4, "growth_rate": 4}


@pytest.fixture(scope="module")
def model():
    return registry.build(PRESET, **OVERRIDES)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    """A file for tiles of 32 pixels."""
    metadata = meta.describe(model, PRESET, overrides=OVERRIDES)
    target = tmp_path_factory.mktemp("lite") / "model.tflite"
    return tflite.export_tflite(model, target, metadata, size=32)


def test_batches_are_restored_as_by_the_network(model, path):
    images = np.random.default_rng(0).normal(0.5, 0.5, (3, 32, 32, 1)).astype(np.float32)
    function = open_model(path)
    assert (function.tile_shape, function.channels, function.precision) == ((32, 32), 1, "float32")
    np.testing.assert_allclose(function(images), model.image_function()(images), atol=1e-5)
    np.testing.assert_array_equal(open_file(path, threads=1)(images), function(images))


def test_a_picture_that_a_file_fails_on_is_refused_in_one_line(model, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, "degraded")])
    def inverse(degraded):
        return {"restored": tf.cast(255 // tf.cast(255 * degraded, tf.int32), tf.float32)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [inverse.get_concrete_function()], tf.Module()
    )
    metadata = meta.describe(model, PRESET, overrides=OVERRIDES)
    path = tmp_path / "inverse.tflite"
    texts = {meta.FILE_NAME: metadata.to_json()}
    path.write_bytes(tflite.with_texts(converter.convert(), texts))
    function = open_file(path)
    np.testing.assert_array_equal(function(np.ones((1, 8, 8, 1))), 1)
    with pytest.raises(ValueError, match=r"inverse\.tflite cannot restore this picture: Division"):
        function(np.zeros((1, 8, 8, 1)))


def test_a_photo_is_restored_without_tensorflow_and_keras(model, path, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (45, 70), np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    script = f"""
import json, sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "jax", "torch", "ai_edge_quantizer"]))
from keras_rdanet import Restorer
from keras_rdanet.image.io import read_picture, write_picture
restored = Restorer({str(path)!r}).picture(read_picture({str(tmp_path / "in.png")!r}))
write_picture({str(tmp_path / "out.png")!r}, restored)
loaded = (name for name, module in sys.modules.items() if module)
print(json.dumps([name for name in loaded if name.startswith(("tensorflow", "keras."))]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert found.shape == picture.shape
    expected = model.image_function()(picture[None, ..., None] / np.float32(255))[0, ..., 0]
    middle = np.s_[:16, :20]  # where only one tile lies
    expected = np.rint(255 * np.clip(expected, 0, 1))
    assert np.abs(found[middle].astype(float) - expected[middle]).mean() < 1


def test_a_size_the_file_does_not_take_is_refused(path):
    with pytest.raises(ValueError, match="32"):
        open_file(path)(np.zeros((1, 16, 32, 1), np.float32))


def test_precision_is_that_of_the_file(path):
    with pytest.raises(ValueError, match="computes in float32, not in bfloat16"):
        open_file(path, "bfloat16")


def test_files_that_cannot_be_run_are_named(path, tmp_path):
    content = path.read_bytes()
    broken = tmp_path / "broken.tflite"
    for damaged in (b"", b"no flatbuffer at all", content[:1000]):
        broken.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"broken\.tflite is damaged"):
            open_file(broken)
    anonymous = tmp_path / "anonymous.tflite"
    anonymous.write_bytes(content.replace(meta.FILE_NAME.encode(), b"another_thing.jsn"))
    with pytest.raises(ValueError, match="does not say which network it is"):
        open_file(anonymous)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "missing.tflite")


@pytest.mark.parametrize(("height", "width"), [(50, 83), (20, 30)])
def test_the_example_of_the_readme_tiles_as_we_do(model, path, height, width):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "ai_edge_litert" in block]
    example: dict = {}
    exec(code, example)
    noisy = np.random.default_rng(0).normal(0.5, 0.2, (height, width, 1)).astype(np.float32)
    restored = example["restore"](noisy, str(path), overlap=16)
    assert restored.shape == noisy.shape
    whole = np.asarray(model(noisy[None]))[0]
    inside = np.s_[:8, :8]  # far from the edges of tiles
    np.testing.assert_allclose(restored[inside], whole[inside], atol=1e-4)
    difference = np.abs(restored - Restorer(path, precision="float32")(noisy)).mean()
    # Where tiles meet the two blend differently.
    assert difference < 0.05 * np.abs(whole).mean()
