import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_rdanet.models import registry
from keras_rdanet.profiling import (
    count_parameters,
    latency,
    multiply_accumulates,
    peak_memory,
    peak_memory_of,
)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("tsp_rdanet_gray", 2_845_924), ("tsp_rdanet_rgb", 2_848_228)],
)
def test_published_parameter_counts(preset, parameters):
    assert count_parameters(registry.build(preset)) == parameters


@pytest.mark.parametrize(
    ("preset", "channels", "billions"),
    [("tsp_rdanet_gray", 1, 676.84), ("tsp_rdanet_rgb", 3, 677.14)],
)
def test_published_multiply_accumulates(preset, channels, billions):
    """The reference evaluates the head twice, we do once."""
    model = registry.build(preset)
    second_head = 256 * 256 * 9 * channels * 64
    count = multiply_accumulates(model, 256, 256) + second_head
    assert round(count / 1e9, 2) == billions


def test_every_kind_of_layer_by_hand():
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(4, (3, 5), padding="same", dilation_rate=2)
    x = conv(image)  # 8 * 6 positions
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Conv2D(6, 2, strides=2, groups=2)(x)  # 4 * 3
    x = keras.layers.Conv2DTranspose(5, 2, strides=2)(x)  # from 4 * 3
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(7)(pooled))
    expected = (
        48 * 3 * 5 * 3 * 4 + 48 * 3 * 3 * 4 + 12 * 2 * 2 * (4 // 2) * 6 + 12 * 2 * 2 * 6 * 5 + 5 * 7
    )
    assert multiply_accumulates(model, 8, 6) == expected


def test_patches_along_the_batch_all_count():
    image = keras.Input((None, None, 1))
    patches = keras.ops.concatenate([image, image], axis=0)
    model = keras.Model(image, keras.layers.Conv2D(2, 3, padding="same")(patches))
    assert multiply_accumulates(model, 8, 6) == 2 * 48 * 9 * 2


def test_shared_layers_count_at_every_call_and_work_on_afterwards():
    image = keras.Input((None, None, 1))
    shared = keras.layers.Conv2D(1, 3, padding="same")
    model = keras.Model(image, shared(shared(shared(image))))
    batch = np.ones((1, 4, 4, 1), np.float32)
    before = model.predict_on_batch(batch)
    assert multiply_accumulates(model, 4, 4) == 3 * 16 * 9
    assert multiply_accumulates(model, 4, 4) == 3 * 16 * 9
    np.testing.assert_array_equal(model.predict_on_batch(batch), before)
    assert count_parameters(model) == 10


def test_latency_is_the_median_without_the_first_call():
    waits = iter([0.2, 0.01, 0.15, 0.02])
    seconds = latency(lambda _: time.sleep(next(waits)), None, repeats=3)
    assert 0.02 <= seconds < 0.15


def test_peak_memory_sees_what_was_freed_but_not_what_the_parent_had():
    held = bytearray(300 * 2**20)
    held[:: 2**12] = b"x" * len(held[:: 2**12])  # touch every page
    code = (
        "from keras_rdanet.profiling import peak_memory\n"
        "before = peak_memory()\n"
        "held = bytearray(100 * 2**20); held[::2**12] = b'x' * len(held[::2**12]); del held\n"
        "print(before, peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < 100 * 2**20
    assert 95 * 2**20 < after - before < 150 * 2**20
    assert peak_memory() > 300 * 2**20


def test_the_limit_of_a_process_is_its_available_memory():
    code = """
import resource
from keras_rdanet.profiling import available_memory
free = available_memory()
resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))
limited = available_memory()
block = bytearray(2**28)
print(free, limited, available_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    free, limited, after = map(int, done.stdout.split())
    assert 2**28 < limited < min(2**30, free)
    assert limited - after == pytest.approx(2**28, rel=0.05)


def test_peak_memory_of_a_module_comes_with_what_it_prints(tmp_path, monkeypatch):
    code = "import sys\nfilled = b'x' * int(sys.argv[1])\nprint('done')\nsys.exit()\n"
    (tmp_path / "hungry.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    little, _ = peak_memory_of("hungry", 10)
    much, said = peak_memory_of("hungry", 100_000_000)
    assert said == "done"
    assert 90e6 < much - little < 120e6
    with pytest.raises(subprocess.CalledProcessError):
        peak_memory_of("hungry", "no number")
