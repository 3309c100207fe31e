import dataclasses
import hashlib
import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer
from keras import ops

from keras_rdanet import metrics
from keras_rdanet.export.formats.tflite import (
    QUANTIZATION_NAME,
    TFLiteExporter,
    convert,
    export_tflite,
)
from keras_rdanet.export.quantization import search
from keras_rdanet.export.quantization.calibration import CalibrationTiles
from keras_rdanet.export.verification.delegates import delegate_support, operations
from keras_rdanet.image.io import to_samples
from keras_rdanet.layers.deformable import DeformableConv2D, steering_conv
from keras_rdanet.layers.pyramid_attention import PUBLISHED, PyramidAttention
from keras_rdanet.layers.resampling import BilinearUpsampling, PixelShuffle
from keras_rdanet.layers.wavelet import HaarTransform, InverseHaarTransform
from keras_rdanet.models import registry
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.litert import open_file
from keras_rdanet.tasks.gaussian_noise import protocol_noise

PHOTO = Path(__file__).parents[3] / "examples" / "astronaut.png"
SIDE = 32
NAME = "tsp_rdanet_tiny_gray"


def cut(number, sigmas, seed):
    """Tiles of a photo, with noise."""
    photo = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)[..., None] / np.float32(255)
    random = np.random.default_rng(seed)
    corners = random.integers(0, min(photo.shape[:2]) - SIDE, (number, 2))
    target = np.stack([photo[y : y + SIDE, x : x + SIDE] for y, x in corners])
    noise = [protocol_noise((SIDE, SIDE, 1), s, i) for i, s in enumerate(sigmas)]
    return target + np.stack(noise), target


@pytest.fixture(scope="module")
def model():
    return registry.load(NAME)


@pytest.fixture(scope="module")
def metadata(model):
    return meta.describe(model)


@pytest.fixture(scope="module")
def calibration():
    degraded, target = cut(200, np.linspace(0, 50, 200), seed=0)
    return CalibrationTiles(degraded, target, hashlib.sha256(degraded.tobytes()).hexdigest())


@pytest.fixture(scope="module")
def exporter(model, metadata, calibration):
    return TFLiteExporter(model, metadata, size=SIDE, calibration=calibration)


@pytest.fixture(scope="module")
def exported(exporter, tmp_path_factory):
    """Variant -> its file, made on first use."""
    folder, made = tmp_path_factory.mktemp("tflite"), {}

    def path(variant):
        if variant not in made:
            made[variant] = exporter.write(folder / f"{variant}.tflite", variant)
        return made[variant]

    return path


def test_float32_equals_the_network_and_holds_its_weights(model, exported):
    degraded, _ = cut(2, [25, 50], seed=1)
    function = open_file(exported("fp32"))
    expected = model(degraded)["stage2"]
    np.testing.assert_allclose(function(degraded), expected, atol=2e-6)
    assert exported("fp32").stat().st_size > 4 * model.count_params()
    assert function.tile_shape == (SIDE, SIDE)
    assert function.support == "global_pool"


@pytest.mark.parametrize(
    ("variant", "loss", "share"),
    [
        ("fp16", 0.02, 0.6),
        ("dynamic", 0.1, 0.4),
        ("int8", 0.3, 0.5),
        ("int8_uint8", 0.3, 0.5),
        ("int16x8", 0.1, 0.5),
    ],
)
def test_variants_are_smaller_and_lose_little_on_pictures(exported, variant, loss, share):
    degraded, target = cut(3, [15, 25, 50], seed=2)
    if variant == "int8_uint8":  # it never sees more than 8 bits
        degraded = to_samples(degraded, np.uint8) / np.float32(255)
    before = open_file(exported("fp32"))(degraded)
    after = open_file(exported(variant))(degraded)
    assert after.dtype == np.float32
    score = [
        metrics.psnr(255 * np.clip(one, 0, 1).reshape(-1, SIDE), 255 * target.reshape(-1, SIDE))
        for one in (before, after)
    ]
    assert score[1] >= score[0] - loss
    # The weights that ship are stored in float16.
    assert np.array_equal(before, after) == (variant == "fp16")
    assert exported(variant).stat().st_size < share * exported("fp32").stat().st_size


def test_delegates_support_what_suits_them(exported):
    files = ("fp32", "fp16", "int8", "int8_uint8", "int16x8")
    found = {variant: delegate_support(exported(variant)) for variant in files}
    assert {v for v in files if not found[v]["cpu"]} == set(files)
    assert {v for v in files if not found[v]["gpu"]} == set(files) - {"int16x8"}
    assert {v for v in files if not found[v]["npu-int8"]} == {"int8_uint8"}
    counts = [operations(exported(variant))["CONV_2D"] for variant in ("fp32", "int8")]
    assert counts == [118, 118]


def test_the_sum_that_makes_the_image_stays_in_float(exported):
    for variant in ("int8", "int16x8"):
        graph = flatbuffer.read_model(str(exported(variant))).subgraphs[0]
        (last,) = [one for one in graph.operators if graph.outputs[0] in one.outputs]
        types = {graph.tensors[i].type for i in last.inputs}
        assert types == {schema.TensorType.FLOAT32}


def test_eight_bit_samples_go_in_and_out(exported):
    graph = flatbuffer.read_model(str(exported("int8_uint8"))).subgraphs[0]
    for index in (graph.inputs[0], graph.outputs[0]):
        tensor = graph.tensors[index]
        assert tensor.type == schema.TensorType.UINT8
        np.testing.assert_allclose(tensor.quantization.scale, [1 / 255])
        np.testing.assert_array_equal(tensor.quantization.zeroPoint, [0])


def test_weights_have_a_scale_for_each_channel(exported):
    graph = flatbuffer.read_model(str(exported("int8"))).subgraphs[0]
    kernels = [t for t in graph.tensors if t.type == schema.TensorType.INT8 and len(t.shape) == 4]
    assert max(len(tensor.quantization.scale) for tensor in kernels) == 144


def test_files_say_what_they_are_and_what_calibrated_them(exported, metadata, calibration):
    model = flatbuffer.read_model(str(exported("int8")))
    texts = {m.name.decode(): model.buffers[m.buffer].data.tobytes() for m in model.metadata}
    found = meta.from_json(texts[meta.FILE_NAME])
    assert found == dataclasses.replace(metadata, variant="int8", tile_shape=(SIDE, SIDE))
    made = json.loads(texts[QUANTIZATION_NAME])
    assert made["calibration"]["sha256"] == calibration.sha256
    assert made["tried"][0]["float operations"] == []
    assert made["percentile"] in search.PERCENTILES
    assert len(made["loss dB of percentiles"]) == len(search.PERCENTILES)
    assert model.signatureDefs[0].inputs[0].name == b"degraded"
    assert model.signatureDefs[0].outputs[0].name == b"restored"


def test_a_file_of_free_size_takes_any(model, metadata, tmp_path):
    path = export_tflite(model, tmp_path / "free.tflite", metadata, size=None)
    function = open_file(path)
    assert function.tile_shape is None
    for height, width in ((21, 34), (16, 16)):
        image = np.random.default_rng(0).random((1, height, width, 1), np.float32)
        expected = model(image)["stage2"]
        np.testing.assert_allclose(function(image), expected, atol=2e-6)


@keras.saving.register_keras_serializable(package="tests")
class Resizing(RestorationModel):
    """Every change of size, and attention to the whole picture in two parts for tiles of 12.

    That has a matrix in float64 for a free size, which gets a deformable convolution.
    """

    support = "nonlocal"
    multiple = min_size = 2
    scale = 2

    def __init__(self, free):
        degraded = keras.Input((None, None, 2), name="degraded")
        x = InverseHaarTransform()(HaarTransform()(degraded))
        if free:
            x = DeformableConv2D(2)([x, steering_conv()(x)])
        else:
            x = PyramidAttention(2, 1, 1, "size_ratio", **PUBLISHED, score_memory=4 * 72 * 475)(x)
        x = PixelShuffle(2)(keras.layers.Conv2D(8, 3, padding="same")(x))
        restored = keras.layers.Add()([x, BilinearUpsampling()(degraded)])
        super().__init__(degraded, restored)
        self.channels = 2


@pytest.mark.parametrize(("size", "free"), [(12, False), (10, True)])
def test_layers_convert_to_what_gpus_take(tmp_path, size, free):
    model = Resizing(free)
    (tmp_path / "x.tflite").write_bytes(convert(model, None if free else size))
    counts = operations(tmp_path / "x.tflite")
    assert (counts["DEPTH_TO_SPACE"], counts["RESIZE_BILINEAR"]) == (2, 1)
    assert free or delegate_support(tmp_path / "x.tflite")["gpu"] == []
    interpreter = Interpreter(str(tmp_path / "x.tflite"))
    degraded = np.random.default_rng(0).random((1, size, size + 4 * free, 2), np.float32)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], degraded.shape)
    (restored,) = interpreter.get_signature_runner()(degraded=degraded).values()
    np.testing.assert_allclose(restored, model(degraded), atol=1e-5)


def test_wrong_options_are_named(model, metadata, exporter, tmp_path):
    target = tmp_path / "x.tflite"
    uncalibrated = TFLiteExporter(model, metadata, size=SIDE)
    uncalibrated.__dict__["content"] = exporter.content  # spares a conversion
    with pytest.raises(ValueError, match="measure their ranges on pictures; give `calibration`"):
        uncalibrated.write(target, "int8")
    with pytest.raises(ValueError, match=r"one of .*'dynamic'.*, got 'int4'"):
        uncalibrated.write(target, "int4")
    with pytest.raises(ValueError, match=r"sides from 4 .*, not `size` 2"):
        TFLiteExporter(model, metadata, size=2)
    assert list(tmp_path.iterdir()) == []


@keras.saving.register_keras_serializable(package="tests")
class Determinants(RestorationModel):
    """Needs an operation that TFLite does not have."""

    def __init__(self):
        degraded = keras.Input((None, None, 1), name="degraded")
        restored = keras.layers.Lambda(
            lambda x: x * ops.det(x[..., :4, :4, 0])[:, None, None, None]
        )
        super().__init__(degraded, restored(degraded))
        self.channels = 1


def test_operations_that_tflite_lacks_are_named():
    with pytest.raises(ValueError, match="cannot become a TFLite file: TFLite has no Matrix"):
        convert(Determinants(), 8)
