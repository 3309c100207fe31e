"""TF-TRT in an environment that cannot have it; `make interop` tests the rest."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.export import tftrt
from keras_rdanet.export.formats.saved_model import export_saved_model
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    overrides = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 2}
    model = registry.build("rdn_gray", **overrides)
    metadata = meta.describe(model, "rdn_gray", overrides=overrides)
    return export_saved_model(model, tmp_path_factory.mktemp("saved") / "mine", metadata)


def test_a_newer_tensorflow_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ImportError, match="has no TF-TRT that works"):
        tftrt.convert(tmp_path / "none", tmp_path / "out")


def test_the_command_stops_before_it_loads_tensorflow(saved_model, tmp_path):
    code = (
        "import sys, time\n"
        "from keras_rdanet.export import tftrt\n"
        "started = time.perf_counter()\n"
        f"try: tftrt.main([{str(saved_model)!r}, {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as stop: print(stop.code)\n"
        "assert time.perf_counter() - started < 1\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("tftrt: TensorFlow 2.")
    assert list(tmp_path.iterdir()) == []


def test_as_a_script_it_needs_no_package_of_ours(saved_model, tmp_path):
    script = tmp_path / "alone.py"
    script.write_bytes(Path(tftrt.__file__).read_bytes())
    done = subprocess.run(
        [sys.executable, "-S", str(script), str(saved_model), "out", "--max", "big"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(np.__file__).parents[1])},
    )
    assert done.returncode == 2
    assert "'big' is not like 1x256x256 (NxHxW)" in done.stderr


def test_a_saved_model_says_what_its_network_takes(saved_model):
    network = tftrt.read_network(saved_model)
    assert (network["channels"], network["multiple"], network["preset"]) == (1, 1, "rdn_gray")


def test_engines_and_what_is_left_are_counted():
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    function = graph.library.function.add()
    function.signature.name = "engine_0_native_segment"
    for op in ("Conv2D", "Conv2D", "Relu", "Const"):
        function.node_def.add(op=op)
    engine = graph.node.add(op="TRTEngineOp", name="engine_0")
    engine.attr["segment_func"].func.name = "engine_0_native_segment"
    for op in ("Placeholder", "Pad", "Identity"):
        graph.node.add(op=op)
    assert tftrt.segments(graph) == {
        "engines": 1,
        "share": 0.75,
        "inside": {"Conv2D": 2, "Relu": 1},
        "outside": {"Pad": 1},
    }
