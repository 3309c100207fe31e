"""TensorFlow's own segmentation of our graphs for TensorRT, on a CPU.

Only what needs TensorRT's library or a GPU is replaced: the check of its
version and the name of the device. Which operations go into engines is
decided by the converter in the CUDA wheel of TensorFlow 2.17.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

MODELS = Path(__file__).resolve().parents[2] / "build" / "interop"

# Network: most engines, least share of the operations in them, most operations outside. What stays
# outside where sizes are free: transposed convolutions and padding, shapes and splits along
# channels; of PANet, matrices in double precision and the loop.
EXPECTED = {
    "tsp_rdanet": (5, 0.98, 4),
    "rdn_x2": (1, 1.0, 0),
    "mprnet": (20, 0.96, 32),
    "danet": (20, 0.88, 120),
    "panet": (8, 0.35, 680),
}
COSTLY = {"Conv2D", "BiasAdd", "MatMul", "BatchMatMulV2", "Einsum", "Relu", "Sigmoid", "Softmax"}


@pytest.fixture
def convert(tftrt, without_library, without_gpu):
    def converted(folder):
        converter = tftrt.make_converter(folder, "FP16")
        return converter, tftrt.segments(converter.convert().graph.as_graph_def())

    return converted


def test_convolutions_go_into_few_engines(convert, name, saved_model):
    _, found = convert(saved_model[0])
    engines, share, outside = EXPECTED[name]
    print(f"{name}: {found}")
    assert 1 <= found["engines"] <= engines
    assert found["share"] >= share
    assert sum(found["outside"].values()) <= outside
    assert COSTLY.isdisjoint(found["outside"])
    assert found["inside"]["Conv2D"] > 10


def test_engines_are_saved_and_need_a_gpu_to_be_built(tftrt, convert, denoiser, tmp_path):
    converter, found = convert(denoiser[0])
    profile = tftrt.Profile((1, 16, 16), (1, 16, 16), (1, 32, 32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="No OpKernel was registered"):
        converter.build(lambda: tftrt.profile_inputs(profile, 1))
    converter.save(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "saved_model.pb").is_file()
    lines = []
    converter.summary(print_fn=lambda text="": lines.append(text))
    assert any(f"Total number of TensorRT engines: {found['engines']}" in line for line in lines)


def test_int8_engines_wait_for_calibration(tftrt, without_library, without_gpu):
    converter = tftrt.make_converter(MODELS / "rdn_x2", "INT8")
    tiles = [np.zeros((1, 64, 64, 3), np.float32)]
    converted = converter.convert(calibration_input_fn=lambda: tftrt.calibration_inputs(tiles))
    nodes = converted.graph.as_graph_def().node
    (engine,) = (node for node in nodes if node.op == "TRTEngineOp")
    assert engine.attr["precision_mode"].s == b"INT8"
    assert engine.attr["use_calibration"].b
    with pytest.raises(RuntimeError, match="built before saving"):
        converter.save("never written")
