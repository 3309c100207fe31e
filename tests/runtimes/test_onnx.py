import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from keras_rdanet.export.formats.onnx import export_onnx
from keras_rdanet.inference.open import open_model
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.onnx import open_file


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """An RGB network that enlarges twice, and its ONNX file."""
    overrides = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 2}
    model = registry.build("rdn_rgb_x2", **overrides)
    path = tmp_path_factory.mktemp("onnx") / "mine.onnx"
    return model, export_onnx(model, path, meta.describe(model, "rdn_rgb_x2", overrides=overrides))


def test_a_file_is_a_model_wherever_one_is_meant(doubling):
    model, path = doubling
    picture = np.random.default_rng(0).random((9, 14, 3), np.float32)
    expected = model.image_function()(picture[None])[0]
    np.testing.assert_allclose(Restorer(path)(picture), expected, rtol=0, atol=1e-5)
    assert (open_model(path).scale, open_model(path).name) == (2, "mine.onnx")


def test_another_precision_is_refused(doubling):
    assert open_file(doubling[1], "float32").precision == "float32"
    with pytest.raises(ValueError, match="computes in float32, not in bfloat16"):
        open_file(doubling[1], "bfloat16")


def test_a_trusted_file_needs_onnx_runtime_alone(doubling):
    code = f"""
import json, sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tf2onnx", "onnx", "jax"]))
import numpy as np
from keras_rdanet import Restorer
restorer = Restorer({str(doubling[1])!r}, trust_model=True)
print(json.dumps(restorer(np.full((5, 4, 3), 0.5, np.float32)).tolist()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = doubling[0].image_function()(np.full((1, 5, 4, 3), 0.5, np.float32))[0]
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=0, atol=1e-5)


def test_without_the_package_that_looks_through_a_file_it_is_refused(doubling, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"keras-rdanet\[export\].*--trust-model"):
        open_file(doubling[1])


def test_damaged_and_foreign_files_are_refused(doubling, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(doubling[1].read_bytes()[:3000])
    with pytest.raises(ValueError, match="damaged"):
        open_file(damaged)
    proto = onnx.load(doubling[1])
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="does not say which network"):
        open_file(tmp_path / "foreign.onnx")
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none.onnx")
