import io
import sys
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_rdanet.models.tsp_rdanet import TSPRDANet
from keras_rdanet.weights.from_torch import (
    _convert,
    _state_dict,
    from_torch,
    keras_path,
    read_checkpoint,
)
from tests.mutations import mutations

RULES = [(r"body\.\d+\.act\.weight", "act.alpha"), (r"first\.0\.(.+)", r"first.\1")]


def tiny():
    """A convolution, a shared slope and a transposed convolution."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, (1, 3), name="first")(image)
    x = keras.layers.PReLU(shared_axes=[1, 2, 3], name="act")(x)
    return keras.Model(image, keras.layers.Conv2DTranspose(5, 2, name="up")(x))


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    shapes = {
        "first.0.weight": (2, 3, 1, 3),
        "first.0.bias": (2,),
        "up.weight": (2, 5, 2, 2),
        "up.bias": (5,),
    }
    made = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {
        **made,
        "body.0.act.weight": np.float32([0.125]),
        "body.1.act.weight": np.float32([0.125]),
    }


def state_dict(nc, colors, bias):
    """Random tensors under the names and in the shapes of the original network."""
    shapes = {
        "conv_head": (nc, colors, 3, 3),
        "conv_tail": (colors, nc, 3, 3),
        "down": (nc, nc, 2, 2),
        "up.up": (nc, nc, 2, 2),
        "rdab.conv_tail": (nc, 9 * nc, 1, 1),
        "hdrdab.conv_tail": (nc, 9 * nc, 1, 1),
    }
    for prefix, width in (("cab", nc), ("hdrdab.cab", 9 * nc)):
        shapes[f"{prefix}.conv_du.0"] = (width // 8, width, 1, 1)
        shapes[f"{prefix}.conv_du.2"] = (width, width // 8, 1, 1)
    for k in range(1, 9):
        shapes[f"rdab.conv{k}"] = shapes[f"hdrdab.dconv{k}"] = (nc, k * nc, 3, 3)
    named = {f"{name}.bias": shape[:1] for name, shape in shapes.items() if bias}
    shapes["sab.spatial.conv"] = shapes["rdab.sab.spatial.conv"] = (1, 2, 5, 5)  # never a bias
    named |= {f"{name}.weight": shape for name, shape in shapes.items()}
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in named.items()}


@pytest.mark.parametrize(("bias", "count"), [(False, 28), (True, 54)])
def test_table_of_tsp_rdanet_leads_every_tensor_to_its_variable(bias, count):
    tensors = state_dict(nc=16, colors=3, bias=bias)
    model = TSPRDANet(filters=16, channels=3, use_bias=bias, image_residual=False)
    report = from_torch(model, tensors)
    assert len(tensors) == len(report.loaded) == count
    hdrdab = model.get_layer("hdrdab")
    np.testing.assert_array_equal(
        hdrdab.convs[4].kernel.numpy()[0, 2], tensors["hdrdab.dconv5.weight"][:, :, 0, 2].T
    )
    np.testing.assert_array_equal(
        hdrdab.gate.squeeze.kernel.numpy()[0, 0],
        tensors["hdrdab.cab.conv_du.0.weight"][:, :, 0, 0].T,
    )


def test_convolutions_get_their_layout_and_values(tensors):
    model = tiny()
    report = from_torch(model, tensors, torch_names=RULES)
    kernel = model.get_layer("first").kernel.numpy()
    up = model.get_layer("up").kernel.numpy()
    assert kernel[0, 2, 1, 0] == tensors["first.0.weight"][0, 1, 0, 2]
    assert up[1, 0, 4, 1] == tensors["up.weight"][1, 4, 1, 0]
    assert model.get_layer("act").alpha.numpy().ravel() == [0.125]
    assert sorted(report.loaded) == sorted(v.path for v in model.weights)
    assert report.missing == report.unused == ()


def test_missing_and_unused_are_listed_and_nothing_is_loaded(tensors):
    model = tiny()
    before = model.get_weights()
    del tensors["up.bias"]
    tensors["other.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"missing: up/bias; unused: other\.weight"):
        from_torch(model, tensors, torch_names=RULES)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_without_strict_the_rest_is_loaded_and_reported(tensors):
    model = tiny()
    del tensors["up.bias"]
    tensors["other.weight"] = np.zeros(3)
    report = from_torch(model, tensors, torch_names=RULES, strict=False)
    assert report.missing == ("up/bias",)
    assert report.unused == ("other.weight",)
    np.testing.assert_array_equal(model.get_layer("first").bias.numpy(), tensors["first.0.bias"])


def test_shared_tensors_must_be_equal(tensors):
    tensors["body.1.act.weight"] = np.float32([0.5])
    with pytest.raises(ValueError, match=r"body\.1\.act\.weight shares act/alpha"):
        from_torch(tiny(), tensors, torch_names=RULES)


CONSTANTS = [*RULES, ("mean", [[1, 0], [0, 0.5]]), (r"\w+\.floor", 1e-4)]


def test_constants_of_the_network_are_checked_and_left_out(tensors):
    constants = {
        "mean": np.float32([[[[1]], [[0]]], [[[0]], [[0.5]]]]),
        "a.floor": np.float32([1e-4]),
    }
    report = from_torch(tiny(), tensors | constants, torch_names=CONSTANTS)
    assert len(report.loaded) == 5
    assert report.unused == ()


@pytest.mark.parametrize("wrong", [[1.1e-4], [np.nan], [1e-4, 1e-4]])
def test_other_constants_are_an_error(tensors, wrong):
    wrong = tensors | {"a.floor": np.float32(wrong)}
    with pytest.raises(ValueError, match=r"a\.floor must be .*built in"):
        from_torch(tiny(), wrong, torch_names=CONSTANTS, strict=False)


@pytest.mark.parametrize("strict", [True, False])
def test_wrong_shapes_and_values_are_errors_either_way(tensors, strict):
    wrong = {**tensors, "first.0.weight": np.zeros((3, 2, 1, 3))}
    with pytest.raises(ValueError, match=r"first\.0\.weight is \(1, 3, 2, 3\)"):
        from_torch(tiny(), wrong, torch_names=RULES, strict=strict)
    wrong = {**tensors, "up.bias": np.full(5, np.inf)}
    with pytest.raises(ValueError, match=r"up\.bias .*not finite"):
        from_torch(tiny(), wrong, torch_names=RULES, strict=strict)


def test_wrappings_of_training_scripts_are_removed(tensors):
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}
    assert len(from_torch(tiny(), wrapped, torch_names=RULES).loaded) == 5


def test_files_load_like_mappings(tensors, tmp_path):
    expected, model = tiny(), tiny()
    from_torch(expected, tensors, torch_names=RULES)
    np.savez(tmp_path / "a.npz", **tensors)
    (tmp_path / "a.safetensors").write_bytes(safetensors.numpy.save(tensors, {"format": "pt"}))
    for name in ("a.npz", "a.safetensors"):
        from_torch(model, str(tmp_path / name), torch_names=RULES)
        for mine, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_files_that_could_run_code_are_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a plain"):
        read_checkpoint(path)


def test_npz_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="not a plain"):
        read_checkpoint(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a plain"):
        read_checkpoint(path)


def test_pth_without_pytorch_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        read_checkpoint(tmp_path / "a.pth")


def test_other_files_and_empty_checkpoints_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.safetensors, \.npz, \.pth, \.pt"):
        read_checkpoint(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="no tensors"):
        from_torch(tiny(), {}, torch_names=RULES)
    with pytest.raises(ValueError, match="no table of PyTorch names"):
        from_torch(tiny(), {"a": np.zeros(1)})


def test_names_without_a_rule_follow_the_layers():
    assert keras_path("rdab.conv3.weight", []) == "rdab/conv3/kernel"
    assert keras_path("first.0.bias", RULES) == "first/bias"


def test_whatever_is_wrong_with_an_npz_file_is_said_in_words_that_name_it(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(60.0), b=np.ones((3, 4), np.float32))
    texts = ("(3, 4", "(99999999999999999999,)", "('3', 4)", "((3,),)", "3 4", "[" * 500)
    crafted = [path.read_bytes() for _ in texts]
    for index, text in enumerate(texts):
        content = io.BytesIO()
        np.save(content, np.ones((3, 4), np.float32))
        header = content.getvalue().replace(b"(3, 4)", text.encode())
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", header)
        crafted[index] = path.read_bytes()
    np.savez_compressed(path, a=np.arange(60.0), b=np.ones((3, 4), np.float32))
    for content in [*crafted, *mutations(path.read_bytes(), 300)]:
        path.write_bytes(content)
        try:
            read_checkpoint(path)
        except ValueError as error:
            assert "a.npz" in str(error)  # noqa: PT017 (some damage does no harm)
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("tensor", [np.array("text"), np.array([b"x"]), object(), "text"])
def test_a_checkpoint_of_other_things_than_tensors_is_refused(tensor):
    with pytest.raises(ValueError, match="no tensor"):
        _convert(tensor, (1,), "a", "b")


@pytest.mark.parametrize("checkpoint", [[1, 2], 7, {"state_dict": 3}, {1: np.ones(2)}, {}])
def test_a_checkpoint_without_names_is_refused(checkpoint):
    with pytest.raises(ValueError, match="no tensors by name"):
        _state_dict(checkpoint)
