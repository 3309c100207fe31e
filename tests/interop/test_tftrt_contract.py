"""What `export/tftrt.py` asks of TensorFlow's converter, up to where TensorRT itself is needed."""

import ast
import inspect
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.compiler.tensorrt import trt_convert

CONVERTER = trt_convert.TrtGraphConverterV2
PRECISIONS = ("FP32", "FP16", "INT8")


def test_only_tensorflow_and_numpy_are_imported(tftrt):
    nodes = list(ast.walk(ast.parse(inspect.getsource(tftrt))))
    names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    packages = {name.split(".")[0] for name in names}
    assert packages - set(sys.stdlib_module_names) == {"tensorflow", "numpy"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_converter_takes_our_arguments_and_stops_at_the_library(tftrt, denoiser, precision):
    with pytest.raises(RuntimeError, match="has not been built with TensorRT support"):
        tftrt.make_converter(denoiser[0], precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_past_the_library_the_converter_accepts_them(tftrt, denoiser, without_library, precision):
    converter = tftrt.make_converter(denoiser[0], precision, minimum_segment_size=5)
    parameters = converter._conversion_params
    assert parameters.precision_mode == precision
    assert parameters.minimum_segment_size == 5
    assert parameters.use_calibration is (precision == "INT8")
    assert converter._use_dynamic_shape
    assert converter._profile_strategy == "Range+Optimal"
    assert converter._input_saved_model_signature_key == "serving_default"
    with pytest.raises(ValueError, match="is not a GPU"):
        converter.convert(**calibration(tftrt, precision))


def calibration(tftrt, precision):
    tiles = [np.zeros((1, 64, 64, 1), np.float32)]
    inputs = {"calibration_input_fn": lambda: tftrt.calibration_inputs(tiles)}
    return inputs if precision == "INT8" else {}


def test_the_converter_wants_tiles_for_int8_and_for_int8_only(
    tftrt, denoiser, without_library, without_gpu
):
    with pytest.raises(ValueError, match="Should specify calibration_input_fn"):
        tftrt.make_converter(denoiser[0], "INT8").convert()
    with pytest.raises(ValueError, match="Should not specify calibration_input_fn"):
        tftrt.make_converter(denoiser[0], "FP16").convert(**calibration(tftrt, "INT8"))


@pytest.mark.parametrize("method", ["convert", "build", "save"])
def test_methods_take_what_we_give_them(tftrt, method):
    given = {
        "convert": ((), {"calibration_input_fn": None}),
        "build": ((lambda: None,), {}),
        "save": (("folder",), {}),
    }
    positional, named = given[method]
    inspect.signature(getattr(CONVERTER, method)).bind(None, *positional, **named)


def test_the_network_runs_on_what_the_generators_yield(tftrt, denoiser):
    serve = tf.saved_model.load(str(denoiser[0])).signatures["serving_default"]
    profile = tftrt.Profile((1, 8, 8), (2, 12, 16), (2, 16, 24))
    shapes = [serve(**inputs)["restored"].shape for inputs in tftrt.profile_inputs(profile, 1)]
    assert shapes == [(2, 12, 16, 1), (1, 8, 8, 1), (2, 16, 24, 1)]
    tiles = tftrt.check_tiles(denoiser[1]["degraded"][:, None], profile, 1)
    outputs = [serve(**inputs)["restored"][0] for inputs in tftrt.calibration_inputs(tiles)]
    np.testing.assert_allclose(outputs, denoiser[1]["restored"], rtol=0, atol=1e-5)


def test_as_a_command_it_says_what_is_missing_in_one_line(tftrt, denoiser, tmp_path):
    done = subprocess.run(
        [sys.executable, tftrt.__file__, str(denoiser[0]), str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tftrt: ")]
    assert "TensorRT" in line
    assert list(tmp_path.iterdir()) == []


def test_with_tensorflow_loaded_it_stops_at_once(tftrt, denoiser, tmp_path):
    started = time.perf_counter()
    with pytest.raises(ImportError, match="TensorRT"):
        tftrt.convert(denoiser[0], tmp_path / "out")
    assert time.perf_counter() - started < 1


def test_a_profile_has_to_suit_the_network(tftrt):
    network = {"multiple": 8, "min_size": 16}
    tftrt.check_profile(tftrt.Profile(), network)
    with pytest.raises(ValueError, match="multiples of 8 and at least 16; the profile has 250x256"):
        tftrt.check_profile(tftrt.Profile(optimum=(1, 250, 256)), network)
    with pytest.raises(ValueError, match="minimum <= optimum <= maximum"):
        tftrt.Profile(maximum=(1, 512, 128))


@pytest.mark.parametrize(
    "shapes", [[], [(1, 8, 8, 1), (1, 8, 9, 1)], [(1, 8, 8, 3)], [(1, 99, 8, 1)], [(8, 8, 1)]]
)
def test_calibration_tiles_outside_of_the_profile_are_refused(tftrt, shapes):
    profile = tftrt.Profile((1, 8, 8), (1, 8, 8), (1, 16, 16))
    with pytest.raises(ValueError, match="alibration"):
        tftrt.check_tiles([np.zeros(shape) for shape in shapes], profile, 1)


def test_every_network_says_what_it_takes(tftrt, name, saved_model):
    network = tftrt.read_network(saved_model[0])
    assert network["channels"] == saved_model[1]["degraded"].shape[-1]
    assert json.dumps(network)
    tftrt.check_profile(tftrt.Profile(), network)


def test_other_folders_are_refused(tftrt, tmp_path):
    with pytest.raises(ValueError, match="no SavedModel written by"):
        tftrt.read_network(tmp_path)
