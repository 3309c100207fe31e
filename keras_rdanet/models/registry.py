"""From names to networks."""

import importlib
from pathlib import Path

import keras

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.weights import catalogue, store

# Preset -> its class; literal, so that listing presets builds nothing.
PRESETS = {
    **{
        f"tsp_rdanet{size}_{color}": "keras_rdanet.models.tsp_rdanet:TSPRDANet"
        for size in ("", "_small", "_tiny")
        for color in ("gray", "rgb", "real")
    },
    **dict.fromkeys(
        ("rdn_cifar", "rdn_gray", "rdn_rgb", "rdn_rgb_x2", "rdn_rgb_x3", "rdn_rgb_x4"),
        "keras_rdanet.models.rdn:RDN",
    ),
    **dict.fromkeys(
        ("mprnet_denoise", "mprnet_deblur", "mprnet_derain"), "keras_rdanet.models.mprnet:MPRNet"
    ),
    **{
        f"danet{size}_{color}": "keras_rdanet.models.danet:DANet"
        for size in ("", "_s", "_teacher")
        for color in ("gray", "rgb")
    },
    **dict.fromkeys(("panet_gray", "panet_rgb"), "keras_rdanet.models.panet:PANet"),
    **dict.fromkeys(("pa_edsr_x2", "pa_edsr_x3", "pa_edsr_x4"), "keras_rdanet.models.panet:PAEDSR"),
}

# Family -> its gray and its RGB preset.
FAMILIES = {
    name.removesuffix("_gray"): (name, name.replace("_gray", "_rgb"))
    for name in PRESETS
    if name.endswith("_gray")
}

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


def network(name: str) -> type[RestorationModel]:
    """The class that a preset belongs to.

    Raises:
        ValueError: if there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no network {name!r}; known: {', '.join(PRESETS)}.")
    module, class_name = PRESETS[name].split(":")
    return getattr(importlib.import_module(module), class_name)


def build(name: str, *, precision: str = "float32", **overrides) -> RestorationModel:
    """A network of the preset `name`, freshly initialised.

    Args:
        name: One of `PRESETS`.
        precision: `"float32"`, or `"bfloat16"` / `"float16"` for mixed
            precision with float32 weights.
        **overrides: Replace arguments of the preset.

    Raises:
        ValueError: if the name, the precision or an override is unknown.
    """
    made_by = network(name)
    if precision not in POLICIES:
        raise ValueError(f"`precision` must be one of {sorted(POLICIES)}, got {precision!r}.")
    # Layers take the policy in force when they are made.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        return made_by.from_preset(name, **overrides)
    finally:
        keras.config.set_dtype_policy(before)


def load(name: str | Path, *, precision: str = "float32") -> RestorationModel:
    """A trained network.

    Args:
        name: A name in the catalogue, with or without its tag, or the path
            of a `.safetensors` file written by this package. The
            architecture is always one of our presets, never taken from a file.
        precision: As in `build`.

    Raises:
        ValueError: if the name is unknown or the file does not fit its preset.
        OSError: if the file cannot be read.
    """
    if str(name).endswith(".safetensors"):
        origin = catalogue.origin_of(name)
        model = build(origin.preset, precision=precision, **origin.overrides)
        store.load_weights(model, name)
        model.origin = origin
        return model
    entry = catalogue.resolve(str(name))
    model = build(entry.preset, precision=precision, **entry.overrides)
    catalogue.load_weights(model, entry)
    return model


def image_function(name: str | Path, precision: str | None = None) -> ImageFunction:
    """A trained network as a function from images to images; as in `load`, `None` is float32."""
    return load(name, precision=precision or "float32").image_function(name=str(name))
