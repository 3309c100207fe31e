import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from keras_rdanet.export.formats.onnx import export_onnx, export_qdq, read_metadata
from keras_rdanet.inference.open import open_model
from keras_rdanet.layers.resampling import BilinearUpsampling
from keras_rdanet.layers.wavelet import HaarTransform, InverseHaarTransform
from keras_rdanet.models import registry
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.runtimes import metadata as meta

OVERRIDES = {
    "tsp_rdanet_tiny_rgb": {"filters": 8},
    "tsp_rdanet_tiny_gray": {"filters": 8},
    "rdn_rgb_x2": {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 2},
}


def exported(preset, folder):
    overrides = OVERRIDES[preset]
    model = registry.build(preset, **overrides)
    metadata = meta.describe(model, preset, overrides=overrides)
    return model, export_onnx(model, folder / f"{preset}.onnx", metadata)


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """An RGB network of 8 filters and its ONNX file."""
    return exported("tsp_rdanet_tiny_rgb", tmp_path_factory.mktemp("onnx"))


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def assert_same(model, path, shapes):
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run
    expected = model.image_function()
    for shape in shapes:
        degraded = noise(*shape, model.channels)
        (restored,) = run(["restored"], {"degraded": degraded})
        np.testing.assert_allclose(restored, expected(degraded), rtol=0, atol=1e-5)


def test_onnx_runtime_gives_what_keras_gives_at_any_size(color):
    assert_same(*color, [(1, 16, 24), (2, 17, 13), (1, 5, 31)])


def test_the_ends_of_gray_networks_are_transposed_not_reshaped(tmp_path):
    model, path = exported("tsp_rdanet_tiny_gray", tmp_path)
    assert_same(model, path, [(1, 16, 24), (2, 17, 13)])
    nodes = onnx.load(path).graph.node
    assert [node.op_type for node in nodes if "degraded" in node.input] == ["Transpose"]
    assert [node.op_type for node in nodes if "restored" in node.output] == ["Transpose"]


def test_an_enlarged_output_has_its_own_sizes(tmp_path):
    model, path = exported("rdn_rgb_x2", tmp_path)
    assert_same(model, path, [(1, 9, 8), (2, 7, 12)])
    sizes = [d.dim_param for d in onnx.load(path).graph.output[0].type.tensor_type.shape.dim]
    assert sizes == ["N", "2H", "2W", ""]


@keras.saving.register_keras_serializable(package="tests")
class Resizing(RestorationModel):
    """The changes of size that no other network here has."""

    def __init__(self):
        degraded = keras.Input((None, None, 3), name="degraded")
        halves = HaarTransform()(degraded)
        restored = BilinearUpsampling()(halves[..., 3:6])
        super().__init__(
            degraded, keras.layers.Add()([InverseHaarTransform()(halves), restored, degraded])
        )
        self.channels = 3


def test_changes_of_size_convert_for_any_size(color, tmp_path):
    model, metadata = Resizing(), read_metadata(onnx.load(color[1]))
    path = export_onnx(model, tmp_path / "resizing.onnx", metadata)
    assert_same(model, path, [(1, 10, 8), (2, 6, 14)])
    assert {"DepthToSpace", "Resize"} <= {node.op_type for node in onnx.load(path).graph.node}


def test_attention_over_the_whole_picture_converts_in_chunks(tmp_path):
    # Two of the five levels: each of them costs seconds of conversion.
    model = registry.build("panet_gray", filters=2, num_blocks=2, levels=(1.0, 0.7))
    model.get_layer("attention").score_memory = 2**14
    path = export_onnx(model, tmp_path / "panet.onnx", meta.describe(model, "panet_gray"))
    assert_same(model, path, [(1, 16, 12), (2, 9, 11)])
    assert "Loop" in {node.op_type for node in onnx.load(path).graph.node}


def test_the_file_names_its_ends_and_its_network(color):
    proto = onnx.load(color[1])
    (given,), (got,) = proto.graph.input, proto.graph.output
    assert (given.name, got.name) == ("degraded", "restored")
    sizes = [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim]
    assert sizes == ["N", "H", "W", 3]
    assert read_metadata(proto).preset == "tsp_rdanet_tiny_rgb"
    assert (proto.opset_import[0].domain, proto.opset_import[0].version) == ("", 18)


def test_dilated_convolutions_are_one_operation_padded_by_numbers(color):
    convolutions = [n for n in onnx.load(color[1]).graph.node if n.op_type == "Conv"]
    attributes = [
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in convolutions
    ]
    dilated = [a for a in attributes if max(a["dilations"]) == 4]
    assert len(dilated) == 5
    assert {tuple(a["pads"]) for a in dilated} == {(4, 4, 4, 4)}
    assert not any("auto_pad" in a for a in dilated)


def test_a_constant_added_to_a_convolution_joins_its_bias(tmp_path):
    class Shifted(RestorationModel):
        channels = 3

        def __init__(self):
            degraded = keras.Input((None, None, 3), name="degraded")
            x = keras.layers.Conv2D(3, 3, padding="same", bias_initializer="ones")(degraded)
            super().__init__(degraded, x + np.array([0.1, 0.2, 0.3], np.float32))

    model = Shifted()
    path = export_onnx(model, tmp_path / "shifted.onnx", meta.describe(model, "shifted"))
    assert_same(model, path, [(1, 6, 5)])


def test_mixed_precision_is_refused(tmp_path):
    model = registry.build("tsp_rdanet_tiny_rgb", precision="bfloat16", filters=8)
    metadata = meta.describe(model, "tsp_rdanet_tiny_rgb")
    with pytest.raises(ValueError, match='precision="float32"'):
        export_onnx(model, tmp_path / "mixed.onnx", metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symmetric", [False, True])
def test_int8_stays_near_float_and_says_so(color, tmp_path, symmetric):
    model, source = color
    tiles = [noise(1, 16, 16, 3), 0.2 * noise(1, 16, 16, 3)]
    path = export_qdq(source, tmp_path / "int8.onnx", iter(tiles), symmetric=symmetric)
    function = open_model(path)
    assert (function.precision, function.channels) == ("int8", 3)
    error = function(tiles[0]) - model.image_function()(tiles[0])
    assert 1e-6 < np.sqrt(np.mean(error**2)) < 0.02
    kinds = {t.data_type for t in onnx.load(path).graph.initializer if "zero_point" in t.name}
    assert (onnx.TensorProto.UINT8 in kinds) is not symmetric


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A network of four convolutions between the picture and its sum with the residual."""

    class Plain(RestorationModel):
        channels = 3

        def __init__(self):
            degraded = x = keras.Input((None, None, 3), name="degraded")
            for name in ("head", "one", "two"):
                x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name=name)(x)
            x = keras.layers.Conv2D(3, 3, padding="same", name="tail")(x)
            super().__init__(degraded, keras.layers.Add()([degraded, x]))

    model = Plain()
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    return model, export_onnx(model, path, meta.describe(model, "rdn_rgb"))


def test_int8_leaves_the_ends_in_float(plain, tmp_path):
    graph = onnx.load(export_qdq(plain[1], tmp_path / "int8.onnx", [noise(1, 16, 16, 3)])).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    kernels = {n.name.split("/")[1]: n.input[1] for n in graph.node if n.op_type == "Conv"}
    found = {layer: kernel in dequantized for layer, kernel in kernels.items()}
    assert found == {"head_1": False, "one_1": True, "two_1": True, "tail_1": False}


def test_int8_is_not_scaled_by_a_rare_tile(plain, tmp_path):
    model, source = plain
    tile = noise(1, 16, 16, 3)
    expected = model.image_function()(tile)
    errors = []
    for tiles in ([tile] * 40, [tile] * 39 + [20 * tile], [tile] * 20 + [20 * tile] * 20):
        function = open_model(export_qdq(source, tmp_path / "x.onnx", tiles))
        errors.append(np.sqrt(np.mean((function(tile) - expected) ** 2)))
    usual, one_rare, half_rare = errors
    assert one_rare < 1.5 * usual < half_rare / 3


def test_int8_needs_tiles(color, tmp_path):
    with pytest.raises(ValueError, match="`calibration` holds no tiles"):
        export_qdq(color[1], tmp_path / "int8.onnx", [])
    assert list(tmp_path.iterdir()) == []
