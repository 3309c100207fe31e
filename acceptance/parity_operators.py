"""Our counterparts of reference results of single layers and operators.

Each entry of `OPERATORS`: the `model` of a golden file, and the function from the arrays of
the file and its `kwargs` to what `output_0`, `output_1`, ... should be, NHWC.
"""

import keras
import numpy as np

from keras_rdanet.evaluation.published_tiling import chop
from keras_rdanet.layers.bicubic import RESIZE_MODES, bicubic_resize
from keras_rdanet.layers.deformable import DeformableConv2D, deform_conv2d, steering_conv
from keras_rdanet.layers.pyramid_attention import PUBLISHED, PyramidAttention
from keras_rdanet.layers.wavelet import HaarTransform, InverseHaarTransform
from keras_rdanet.models.danet import (
    DeformableBlock,
    RecurrentOffsetBlock,
    state_down,
    state_up,
)
from keras_rdanet.weights.from_torch import from_torch, rules_for


def nhwc(array):
    """A golden image or feature map in our order."""
    return np.asarray(array, np.float32).transpose(0, 2, 3, 1)


def parameters(golden, prefix=""):
    """The PyTorch tensors of a golden file by name."""
    return {
        prefix + name.removeprefix("param/"): array
        for name, array in golden.items()
        if name.startswith("param/")
    }


def attention_arguments(kwargs):
    """Our arguments of a pyramid attention from the original's, which counts the levels."""
    level = kwargs.get("level", len(PUBLISHED["levels"]))
    levels = [1 - i / 10 for i in range(level)] if isinstance(level, int) else level
    return {**{k: kwargs.get(k, v) for k, v in PUBLISHED.items()}, "levels": levels}


def _bicubic_resize(golden, kwargs):
    images = nhwc(golden["input"])
    levels = PUBLISHED["levels"][1:]
    return [bicubic_resize(images, level, mode) for mode in RESIZE_MODES for level in levels]


def _pyramid_attention(golden, kwargs):
    images = nhwc(golden["input"])
    outputs = []
    for mode in RESIZE_MODES:
        features = keras.Input((None, None, kwargs["channel"]))
        attention = PyramidAttention(
            kwargs["channel"],
            kwargs["reduction"],
            kwargs["res_scale"],
            mode,
            **attention_arguments(kwargs),
            name="attention",
        )
        model = keras.Model(features, attention(features))
        from_torch(model, parameters(golden, "msa."), torch_names=rules_for("panet"))
        outputs.append(model(images))
    return outputs


def _chop(golden, kwargs):
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
    images = keras.Input((None, None, 3))
    model = keras.Model(images, conv(images))
    from_torch(model, parameters(golden), torch_names=())

    def toy(tiles):
        restored = keras.ops.convert_to_numpy(model(tiles)) + tiles.mean((1, 2), keepdims=True)
        return restored.repeat(kwargs["scale"], axis=1).repeat(kwargs["scale"], axis=2)

    return [chop(toy, nhwc(golden["input"]), **kwargs)]


def _haar(golden, kwargs):
    return [
        HaarTransform()(nhwc(golden["input"])),
        InverseHaarTransform()(nhwc(golden["input_1"])),
    ]


def _deform_conv2d(golden, kwargs):
    features = keras.Input((None, None, kwargs["in_channels"]))
    deform = DeformableConv2D(kwargs["out_channels"], name="deform")
    model = keras.Model(features, deform([features, steering_conv(name="offset")(features)]))
    from_torch(model, parameters(golden), torch_names=())
    images = nhwc(golden["input"])
    offsets, modulation = nhwc(golden["input_offset"]), nhwc(golden["input_mask"])
    given = deform_conv2d(images, offsets, modulation, deform.kernel) + deform.bias
    return [given, model(images)]


def _adeb(golden, kwargs):
    features = keras.Input((None, None, kwargs["channels"]))
    block = DeformableBlock(
        kwargs["channels"], "adeb", kwargs["n_convs"], kwargs["reduction"], name="enc0_adeb0"
    )
    model = keras.Model(features, block(features))
    from_torch(model, parameters(golden, "enc.0.adeb.0."), torch_names=rules_for("danet"))
    return [model(nhwc(golden["input"]))]


def _arob(golden, kwargs):
    inputs = [keras.Input((None, None, kwargs["channels"]))]
    if not kwargs["first"]:
        inputs.append(keras.Input((None, None, kwargs["state"])))
    block = RecurrentOffsetBlock(
        kwargs["channels"],
        kwargs["state"],
        kwargs["first"],
        kwargs["n_convs"],
        kwargs["reduction"],
        name="mid_arob",
    )
    model = keras.Model(inputs, block(inputs[0] if kwargs["first"] else inputs))
    from_torch(model, parameters(golden, "mid.arob."), torch_names=rules_for("danet"))
    images = [nhwc(golden[name]) for name in ("input", "input_1")[: len(inputs)]]
    features, state = model(images)
    return [features, state, state_down(state), state_up(state)]


OPERATORS = {
    "haar": _haar,
    "deform_conv2d": _deform_conv2d,
    "adeb": _adeb,
    "arob": _arob,
    "bicubic_resize": _bicubic_resize,
    "pyramid_attention": _pyramid_attention,
    "chop": _chop,
}
