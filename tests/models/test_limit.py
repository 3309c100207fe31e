import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_rdanet.models import registry
from keras_rdanet.models.limit import made_of
from keras_rdanet.weights import store

SMALL = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1}


def claiming(path, overrides, preset="rdn_gray"):
    """A whole file of a small network that says it is for another one."""
    tensors = {"head/kernel": np.zeros((3, 3, 1, 4), np.float32)}
    store.write_tensors(path, tensors, {"preset": preset, "overrides": overrides})
    return path


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("rdn_gray", {"filters": 512, "growth_rate": 512}),
        ("rdn_gray", {**SMALL, "num_blocks": 512}),
        ("mprnet_denoise", {"filters": 512}),
        ("danet_rgb", {"filters": [512, 512]}),
        ("panet_rgb", {"filters": 512, "num_blocks": 512}),
        ("tsp_rdanet_rgb", {}),
    ],
)
def test_a_file_that_asks_for_more_than_it_holds_is_refused(tmp_path, preset, overrides):
    path = claiming(tmp_path / "w.safetensors", overrides, preset)
    with pytest.raises(
        ValueError, match=r"w\.safetensors does not fit the network that it asks for"
    ):
        registry.load(path)


def test_it_is_refused_soon_and_in_little_memory(tmp_path):
    path = claiming(tmp_path / "w.safetensors", {"filters": 512, "growth_rate": 512})
    code = f"""
import json, resource, time
from keras_rdanet.models import registry, rdn
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = memory(), time.process_time()
try:
    registry.load({str(path)!r})
except ValueError:
    print(json.dumps([time.process_time() - start, memory() - before]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, kilobytes = json.loads(done.stdout.splitlines()[-1])
    assert seconds < 1
    assert kilobytes < 100_000


def test_a_network_of_exactly_those_weights_is_built():
    shapes = [weight.shape for weight in registry.build("rdn_gray", **SMALL).weights]
    with made_of(shapes, "file"):
        assert [weight.shape for weight in registry.build("rdn_gray", **SMALL).weights] == shapes
    with pytest.raises(ValueError, match="file does not fit"), made_of(shapes[1:], "file"):
        registry.build("rdn_gray", **SMALL)
    assert keras.layers.Layer.add_weight.__module__.startswith("keras.")
