import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.models import DANet
from keras_rdanet.models.danet import (
    DeformableBlock,
    RecurrentOffsetBlock,
    state_down,
    state_up,
)
from keras_rdanet.profiling import multiply_accumulates
from keras_rdanet.weights.from_torch import from_torch
from tests.models.checks import ResidualChecks, image, restore

FULL = DANet.PRESETS["danet_gray"]


def small(**options):
    return DANet(**{**DANet.SMALL, **options})


REFUSED = [
    ({"channels": 2}, "`channels` must be 1"),
    ({"encoder": "dense"}, "`encoder` must be one of"),
    ({"decoder": "conv"}, "`decoder` must be one of"),
]


class TestDANet(ResidualChecks):
    network = DANet
    parameters = {
        "danet_gray": 23_196_578,
        "danet_rgb": 23_198_884,
        "danet_s_gray": 15_736_370,
        "danet_s_rgb": 15_738_676,
        "danet_teacher_gray": 26_512_226,
    }
    unlike = {"filters": (3, 5), "channels": 3, "decoder": "deform", "use_wavelet": False}
    traits = {"channels": 1, "support": "global_pool", "scale": 1, "multiple": 4, "min_size": 4}
    inner = "head"
    silent = ("tail",)
    refused = REFUSED

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_offsets_stay_in_float32(self, precision):
        block = self._in(precision).get_layer("enc0_arob")
        assert (block.deform.compute_dtype, block.offset.compute_dtype) == (precision, "float32")


class TestAblation(ResidualChecks):
    """Without recurrent offsets, wavelets and deformation."""

    network = DANet
    parameters = {}
    unlike = {"filters": (4, 6), "encoder": "deform"}
    traits = {"support": "global_pool", "multiple": 2, "min_size": 2}
    inner = "head"
    silent = ("tail",)
    refused = REFUSED

    def small(self, **options):
        ablation = {"use_arob": False, "use_wavelet": False, "decoder": "plain"}
        return small(**{"filters": (8, 8), "channels": 3, **ablation, **options})


@pytest.mark.parametrize(
    ("encoder", "decoder", "use_arob", "parameters"),
    [
        ("plain", "plain", False, 18_334_977),
        ("plain", "deform", False, 18_755_367),
        ("adeb", "adeb", False, 20_374_821),
        ("adeb", "adeb", True, 20_574_562),
    ],
)
def test_parameter_count_of_the_ablations_of_table_8(encoder, decoder, use_arob, parameters):
    options = {"encoder": encoder, "decoder": decoder, "use_arob": use_arob, "use_wavelet": False}
    assert DANet(**{**FULL, **options}).count_params() == parameters


def test_parameter_count_of_the_reference_implementation():
    options = {"filters": (8, 12, 16), "encoder_blocks": 2, "decoder_blocks": 1, "state": 8}
    assert DANet(**{**FULL, **options, "reduction": 4}).count_params() == 124_631


@pytest.mark.parametrize(
    ("block", "macs"),
    [
        (lambda x: DeformableBlock(64, "adeb", 3, 16)(x), 38 * 64**2 + 243 * 64 + 116),
        (
            lambda x: RecurrentOffsetBlock(64, 32, True, 3, 16)(x)[0],
            38 * 64**2 + 116 + 9 * 64 * 32 + 11 * 32**2 + 116 + 243 * 32,
        ),
    ],
)
def test_multiply_accumulates_of_a_block(block, macs):
    features = keras.Input((None, None, 64))
    model = keras.Model(features, block(features))
    counted = multiply_accumulates(model, 16, 16) / 256
    np.testing.assert_allclose(counted, macs, rtol=1e-3)  # gates of pooled channels cost little


def test_state_is_scaled_like_the_lengths_it_is_made_of():
    x = image(4, 6, 2)
    halves = x.reshape(1, 2, 2, 3, 2, 2).mean((2, 4)) / 2
    np.testing.assert_allclose(ops.convert_to_numpy(state_down(x)), halves, rtol=1e-6)
    doubled = ops.convert_to_numpy(state_up(x))
    assert doubled.shape == (1, 8, 12, 2)
    np.testing.assert_allclose(doubled[:, 0, 0], 2 * x[:, 0, 0], rtol=1e-6)  # border repeated
    np.testing.assert_allclose(doubled[:, 0, 1], 1.5 * x[:, 0, 0] + 0.5 * x[:, 0, 1], rtol=1e-6)


def test_state_runs_from_the_first_block_to_the_last():
    model = small()
    x = image(8, 8)
    for name in ("enc0_arob", "dec0_arob"):  # offsets start at zero and would hide it
        offset = model.get_layer(name).offset
        offset.kernel.assign(np.full(offset.kernel.shape, 0.3))
    before = restore(model, x)
    bias = model.get_layer("enc0_arob").state_out.bias
    silence = model.get_layer("enc0_arob").offset
    silence.kernel.assign(np.zeros(silence.kernel.shape))
    between = restore(model, x)
    bias.assign(bias + 1.0)
    assert np.abs(between - before).max() > 1e-7
    assert np.abs(restore(model, x) - between).max() > 1e-7  # it only acts further on


def test_blocks_without_deformation_and_attention_are_residual():
    block = DeformableBlock(4, "plain", 2, 4)
    block.build((None, None, None, 4))
    x = image(5, 6, 4)
    t = block.convs[0](ops.relu(block.conv_in(x)))
    expected = x + ops.convert_to_numpy(block.convs[1](ops.relu(t)))
    np.testing.assert_allclose(restore(block, x), expected, atol=1e-6)
    assert [w.path.split("/")[-2] for w in block.weights[::2]] == ["conv_in", "conv0", "conv1"]


def test_names_of_the_reference_implementation_load():
    model = small(num_convs=2)
    shapes = {}
    for variable in model.weights:
        name = variable.path.replace("/", ".")
        for ours, theirs in (
            ("enc0_", "enc.0."),
            ("enc1_", "enc.1."),
            ("dec0_", "dec.0."),
            ("dec1_", "dec.1."),
            ("mid_", "mid."),
            ("adeb0", "adeb.0"),
            ("down0", "down.0"),
            ("down1", "down.1"),
            ("up0", "up.0"),
            ("up1", "up.1"),
            ("conv0", "convs.0"),
            ("conv1", "convs.1"),
            ("ca.squeeze", "ca_reduce"),
            ("ca.excite", "ca_expand"),
            ("kernel", "weight"),
        ):
            name = name.replace(ours, theirs)
        shape = tuple(variable.shape)
        shapes[name] = shape if len(shape) == 1 else (shape[3], shape[2], shape[0], shape[1])
    assert {"enc.0.adeb.0.dam.ca_reduce.weight", "mid.arob.state_dam.sa_max.bias"} < set(shapes)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    assert len(from_torch(model, tensors).loaded) == len(model.weights)
    kernel = ops.convert_to_numpy(model.get_layer("dec1_arob").deform.kernel)
    np.testing.assert_allclose(
        kernel[0, 2], tensors["dec.1.arob.deform.weight"][:, :, 0, 2].T, rtol=1e-6
    )
