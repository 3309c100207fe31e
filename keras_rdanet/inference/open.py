"""From a name, a path or a model to a function from images to images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.weights import catalogue

SAVED_MODEL = "SavedModel folders"


def open_model(
    model: Any,
    *,
    precision: str | None = None,
    channels: int | None = None,
    trust: bool = False,
) -> ImageFunction:
    """Open a model as a function from images to images.

    Args:
        model: The name of a network, with or without the tag of its weights;
            of a family of a gray and an RGB network; the path of a weights
            file, of an exported file or of a SavedModel folder; a model with
            an `image_function()`; or an `ImageFunction`.
        precision: `"float32"` or `"bfloat16"`; `None` for float32, or what an
            export, or a model or function that is open already, computes in.
        channels: `1` or `3`, to choose from a family.
        trust: Whether an exported file may hold any operation; otherwise one
            that can do more than compute is refused, see `runtimes.trust`.

    Raises:
        ValueError: if the name or the kind of file is unknown, the precision
            is not available, a family comes without `channels`, or an exported
            file is not trusted and can do more than compute.
        TypeError: if `model` is none of these.
        OSError: if the file cannot be read.
    """
    if hasattr(model, "image_function"):
        model = model.image_function()
    if isinstance(model, ImageFunction):
        if precision not in (None, model.precision):
            raise ValueError(
                f"{model.name} computes in {model.precision}, not in {precision}; "
                "give its name instead, or leave the precision to it."
            )
        return model
    if is_file(model):
        opener = OPENERS[_kind(Path(model))]
        options = {"trust": True} if trust and opener is not _open_weights else {}
        return opener(Path(model), precision, **options)
    members = family_members(model)
    if members is not None:
        if channels not in (1, 3):
            raise ValueError(
                f"{model} is a family of {' and '.join(members)}; say which, or give `channels`."
            )
        model = members[0 if channels == 1 else 1]
    return _networks().image_function(str(model), precision)


def is_file(model: Any) -> bool:
    """Whether `model` is the path of a weights file or an export, rather than a name.

    Raises:
        TypeError: if it is neither text nor a path.
        ValueError: if the file is not one of the kinds we read.
        OSError: if there is no such file.
    """
    if not isinstance(model, str | Path):
        raise TypeError(
            "`model` must be a name, a path, a model or an ImageFunction, "
            f"got {type(model).__name__}."
        )
    path = Path(model)
    kind = _kind(path)
    known = kind in OPENERS
    if known and kind != SAVED_MODEL and not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}.")
    if not known and (path.exists() or isinstance(model, Path) or path.name != str(model)):
        raise ValueError(f"{path} is not a model file; known kinds: {', '.join(OPENERS)}.")
    return known


def is_export(model: Any) -> bool:
    """Whether `model` is the path of an exported file, which has a precision of its own.

    Raises:
        As `is_file`.
    """
    return is_file(model) and OPENERS[_kind(Path(model))] is not _open_weights


def family_members(name: Any) -> tuple[str, str] | None:
    """The gray and the RGB network of a family, `tsp_rdanet_tiny` or `tsp_rdanet_tiny.awgn` say.

    Returns:
        Their names, with the tag if there is one; `None` if no family is called that.
    """
    family, dot, tag = str(name).partition(".")
    members = _networks().FAMILIES.get(family)
    return members and tuple(member + dot + tag for member in members)


def rgb_sibling(name: Any) -> str | None:
    """The weights for RGB that belong to the weights of a gray network.

    Returns:
        Their full name: those of the same family for the same task, or else
        any for that task; `None` if there are none.
    """
    gray = catalogue.resolve(str(name))
    families = _networks().FAMILIES.values()
    sibling = next((rgb for member, rgb in families if member == gray.preset), None)
    fitting = [
        entry
        for entry in catalogue.list_models()
        if entry.channels == 3 and entry.task == gray.task
    ]
    fitting.sort(key=lambda entry: entry.preset != sibling)
    return fitting[0].name if fitting else None


def _kind(path: Path) -> str:
    """The kind of a model file, a key of the tables if it is one that we read."""
    return SAVED_MODEL if (path / "saved_model.pb").is_file() else path.suffix.lower()


def _open_weights(path: Path, precision: str | None) -> ImageFunction:
    return _networks().image_function(path, precision)


def _open_tflite(path: Path, precision: str | None, trust: bool = False) -> ImageFunction:
    from keras_rdanet.runtimes import litert

    return litert.open_file(path, precision, trust=trust)


def _open_onnx(path: Path, precision: str | None, trust: bool = False) -> ImageFunction:
    from keras_rdanet.runtimes import onnx

    return onnx.open_file(path, precision, trust=trust)


def _open_saved_model(path: Path, precision: str | None, trust: bool = False) -> ImageFunction:
    from keras_rdanet.runtimes import saved_model

    return saved_model.open_file(path, precision, trust=trust)


def _networks():
    """The networks, which need Keras."""
    try:
        from keras_rdanet.models import registry
    except ModuleNotFoundError as error:
        raise ImportError(
            f"Networks by name and .safetensors files need Keras and TensorFlow ({error}); "
            "pip install 'keras-rdanet[train]'."
        ) from error
    return registry


# Kind of file -> its opener, a function of the path and the precision, which may be None; openers
# of exported files also take `trust`.
OPENERS: dict[str, Callable[..., ImageFunction]] = {
    ".safetensors": _open_weights,
    ".keras": _open_weights,
    ".tflite": _open_tflite,
    ".onnx": _open_onnx,
    SAVED_MODEL: _open_saved_model,
}
