"""From names to networks."""

import contextlib
import importlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import keras

from keras_rdanet.files import file_sha256, open_regular, reading
from keras_rdanet.hdf5 import contained
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.models.limit import made_of
from keras_rdanet.weights import catalogue, store
from keras_rdanet.weights.origin import Origin

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


def build(
    name: str, *, precision: str | None = "float32", load_weights: bool = False, **overrides
) -> RestorationModel:
    """A network of the preset `name`, freshly initialised unless `load_weights`.

    Args:
        name: Name of a preset in `PRESETS`, with or without the tag of its weights.
        precision: Precision of the computation: `"float32"`, or `"bfloat16"` or
            `"float16"` for mixed precision with float32 weights; `None` for
            Keras' global dtype policy.
        load_weights: Whether to load trained weights where they ship.
        **overrides: Arguments that differ from the preset.

    Raises:
        ValueError: if the name, the precision or an override is unknown.
    """
    made_by = network(name.partition(".")[0])
    with _policy(precision):
        return made_by.from_preset(name, load_weights=load_weights, **overrides)


@contextlib.contextmanager
def _policy(precision: str | None) -> Iterator[None]:
    """Make layers, which take the policy in force when they are made, for a precision."""
    if precision is None:
        yield
        return
    if precision not in POLICIES:
        raise ValueError(f"`precision` must be one of {sorted(POLICIES)}, got {precision!r}.")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def load(name: str | Path, *, precision: str | None = "float32") -> RestorationModel:
    """A trained network.

    Args:
        name: A name in the catalogue, with or without its tag, or the path
            of a `.safetensors` file written by this package, or of a `.keras`
            file of one of our networks. The architecture is always one of our
            classes, never taken from a file, and no code in a file is run.
        precision: Precision of the computation, see `build`.

    Raises:
        ValueError: if the name is unknown, or the file is damaged, of another
            network or does not fit its preset.
        OSError: if the file cannot be read.
    """
    if str(name).endswith(".keras"):
        return _load_keras(Path(name), precision)
    if str(name).endswith(".safetensors"):
        return _load_safetensors(Path(name), precision)
    entry = catalogue.resolve(str(name))
    model = build(entry.preset, precision=precision, **entry.overrides)
    catalogue.load_weights(model, entry)
    return model


def _load_safetensors(path: Path, precision: str | None) -> RestorationModel:
    """The network of a weights file, which is no larger than the arrays in it."""
    shapes = store.shapes(path).values()
    origin = catalogue.origin_of(path)
    with reading(path, "a weights file of this version"):
        with made_of(shapes, path):
            model = build(origin.preset, precision=precision, **origin.overrides)
        store.load_weights(model, path)
    model.origin = origin
    return model


def _load_keras(path: Path, precision: str | None) -> RestorationModel:
    """A network of ours from a `.keras` file, of which only arguments and arrays are used."""
    made_by, arguments = _read_config(path)
    origin = arguments.pop("origin", None) or _closest_preset(made_by, arguments)
    with _policy(precision), reading(path, "a .keras file of this version"):
        with made_of(_weight_shapes(path), path):
            model = made_by(**arguments)
        with warnings.catch_warnings():
            # Keras only warns of layers that it has no weights for.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
        store.check_finite({weight.path: weight.numpy() for weight in model.weights}, path)
        known = {field.name for field in fields(Origin)}
        facts = {key: value for key, value in origin.items() if key in known}
        model.origin = Origin(**{**facts, "weights": path.name, "sha256": file_sha256(path)})
    return model


def _weight_shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the weights in a `.keras` file, which are neither elsewhere nor holes."""
    import h5py

    store.check_solid(path)
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        content = archive.open("model.weights.h5").read(path.stat().st_size)
        with h5py.File(io.BytesIO(content)) as weights:
            return contained(weights, path)


def _read_config(path: Path) -> tuple[type[RestorationModel], dict]:
    """The class and the arguments of the network in a `.keras` file."""
    with reading(path, "a .keras file"):
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            config = json.loads(archive.open("config.json").read(store.MAX_HEADER_BYTES))
        package, _, class_name = config["registered_name"].partition(">")
        arguments = dict(config["config"])
    classes = {network(name).__name__: network(name) for name in PRESETS}
    if package != "keras_rdanet" or class_name not in classes:
        raise ValueError(
            f"{path} holds a {(class_name or package)[:200]}, not one of our networks "
            f"({', '.join(classes)}); open it with `keras.saving.load_model`."
        )
    for own in ("trainable", "dtype"):  # settings of this process, not of the file
        arguments.pop(own, None)
    made_by = classes[class_name]
    known = {*next(iter(made_by.PRESETS.values())), "initialization", "name", "origin"}
    if unknown := sorted(arguments.keys() - known):
        raise ValueError(f"{path} is damaged or of another version: {class_name} has no {unknown}.")
    origin = arguments.get("origin")
    with reading(path, "a .keras file"):
        store.check_overrides({k: v for k, v in arguments.items() if k != "origin"}, path)
    preset = origin.get("preset") if isinstance(origin, dict) else None
    if origin is not None and not (isinstance(preset, str) and preset in PRESETS):
        raise ValueError(f"{path} is damaged: it does not name one of our presets.")
    return made_by, arguments


def _closest_preset(made_by: type[RestorationModel], arguments: dict) -> dict:
    """The preset that differs least from some arguments, and where they differ."""
    differing = {
        name: {k: arguments[k] for k in preset if arguments.get(k, preset[k]) != preset[k]}
        for name, preset in made_by.PRESETS.items()
    }
    preset = min(differing, key=lambda name: len(differing[name]))
    return {"preset": preset, "overrides": differing[preset]}


def image_function(name: str | Path, precision: str | None = None) -> ImageFunction:
    """A trained network as a function from images to images; as in `load`, `None` is float32."""
    return load(name, precision=precision or "float32").image_function(name=str(name))
