"""Weights of the original PyTorch code, moved into our networks by name."""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from keras_rdanet.files import open_regular, reading
from keras_rdanet.weights import store

# Convolution and transposed convolution alike: (out, in, kh, kw) to
# (kh, kw, in, out), and (in, out, kh, kw) to (kh, kw, out, in). No flip:
# both frameworks define the transposed one as the adjoint of a correlation.
CONV_AXES = (2, 3, 1, 0)
# Beyond any checkpoint of these networks; a small .npz can claim much more.
MAX_NPZ_BYTES = 2**32

Rules = Sequence[tuple[str, str | float | list | dict]]


@dataclass(frozen=True)
class Report:
    """The report of `from_torch`.

    Args:
        loaded: Paths of the Keras variables that were set.
        missing: Paths of the Keras variables that no tensor was for.
        unused: PyTorch names that no Keras variable was for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self):
        lists = {"missing": self.missing, "unused": self.unused}
        rest = [f"{kind}: {', '.join(names)}" for kind, names in lists.items() if names]
        return "; ".join([f"{len(self.loaded)} variables loaded", *rest])


def from_torch(model, source, *, torch_names: Rules | None = None, strict: bool = True) -> Report:
    """Set the weights of a Keras model from a PyTorch state dict.

    Args:
        model: A network of this package, or any Keras model with `torch_names`.
        source: PyTorch names -> arrays, or the path of a `.safetensors`,
            `.npz`, `.pth` or `.pt` file. A `state_dict` entry is opened and
            a `module.` prefix removed.
        torch_names: Pairs of a regular expression for a whole PyTorch name
            and what replaces it; the first that matches counts, and a name
            without a match stays as it is. Then `.weight` means `.kernel`,
            and dots become slashes: that is the path of a Keras variable.
            Several names may lead to one variable if their values are equal.
            A number or nested list in place of a name is a constant of our
            network, which the tensor must equal; it is then left out.
            `{"attribute": constant}` is the constant times that attribute of
            the model, or times 1 if the model has no such attribute.
            The default is the table `torch_names/<model file>.json`.
        strict: Whether missing and unused tensors are an error.

    Returns:
        A report of the tensors that were loaded, missing and unused.

    Raises:
        ValueError: if tensors are missing or unused while `strict`, a shape
            does not fit, a value is not finite, or shared values or constants differ.
            The model then keeps its weights.
        OSError: if the file cannot be read.
        ImportError: if a `.pth` file needs PyTorch and it is not installed.
    """
    tensors = _state_dict(source if isinstance(source, Mapping) else read_checkpoint(source))
    if torch_names is None:
        torch_names = rules_for(type(model).__module__.rpartition(".")[2])
    variables = store.variables_by_path(model)
    arrays: dict[str, np.ndarray] = {}
    unused = []
    for name, tensor in tensors.items():
        if (constant := _constant(name, torch_names, model)) is not None:
            _check_constant(tensor, constant, name)
            continue
        path = keras_path(name, torch_names)
        if path not in variables:
            unused.append(name)
            continue
        array = _convert(tensor, tuple(variables[path].shape), name, path)
        if path in arrays and not np.array_equal(arrays[path], array):
            raise ValueError(f"{name} shares {path} with other tensors but differs from them.")
        arrays[path] = array
    missing = [path for path in variables if path not in arrays]
    report = Report(tuple(arrays), tuple(missing), tuple(unused))
    if strict and (missing or unused):
        raise ValueError(f"The checkpoint does not fit {model.name}: {report}.")
    for path, array in arrays.items():
        variables[path].assign(array)
    return report


def keras_path(name: str, rules: Rules) -> str:
    """The path of the Keras variable that a PyTorch name stands for."""
    for pattern, replacement in rules:
        if isinstance(replacement, str) and (match := re.fullmatch(pattern, name)):
            name = match.expand(replacement)
            break
    return re.sub(r"\.weight$", ".kernel", name).replace(".", "/")


def read_checkpoint(path) -> Mapping:
    """Read PyTorch names and arrays from a file, running nothing that is in it.

    Raises:
        ValueError: if the file is damaged, of another kind or holds code.
        OSError: if it cannot be read.
        ImportError: if it needs PyTorch and that is not installed.
    """
    readers = {
        ".safetensors": store.read_tensors,
        ".npz": _read_npz,
        ".pth": _read_pth,
        ".pt": _read_pth,
    }
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise ValueError(f"{path} is not a checkpoint; known are {', '.join(readers)}.")
    return readers[suffix](path)


def _read_npz(path):
    with reading(path, "a plain .npz file"), open_regular(path) as file:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_NPZ_BYTES:
            raise ValueError(f"it would unpack to {size} B")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)


def _read_pth(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Reading {path} needs PyTorch: `pip install torch`, or save the state dict as "
            ".safetensors where PyTorch is installed."
        ) from error
    with open_regular(path) as file:
        try:
            return torch.load(file, weights_only=True, map_location="cpu")
        except Exception as error:  # torch has no common class for damaged files
            raise ValueError(
                f"{path} is damaged or holds more than tensors; such files can run code and are "
                "never loaded. Save the bare state dict where the file came from."
            ) from error


def _state_dict(checkpoint):
    """The tensors by name, without the wrappings that training scripts add."""
    tensors = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else {}
    named = isinstance(tensors, Mapping) and all(isinstance(name, str) for name in tensors)
    if not named or not tensors:
        raise ValueError("The checkpoint holds no tensors by name.")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def rules_for(network: str) -> Rules:
    """The table of PyTorch names for a file of `keras_rdanet.models`, such as `"tsp_rdanet"`.

    Raises:
        ValueError: if there is none.
    """
    table = resources.files("keras_rdanet.weights") / "torch_names" / f"{network}.json"
    if not table.is_file():
        raise ValueError(f"There is no table of PyTorch names for {network}; pass `torch_names`.")
    return json.loads(table.read_text(encoding="utf-8"))["rules"]


def _constant(name, rules, model):
    """The value that a tensor must have because our network has it built in, or `None`."""
    value = next((v for p, v in rules if not isinstance(v, str) and re.fullmatch(p, name)), None)
    if isinstance(value, dict):
        ((attribute, unit),) = value.items()
        return getattr(model, attribute, 1) * np.float32(unit)
    return value


def _check_constant(tensor, constant, name):
    found, expected = np.squeeze(_float32(tensor)), np.squeeze(np.float32(constant))
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-5, atol=0):
        raise ValueError(
            f"{name} must be {expected.tolist()}, which our network has built in; "
            f"the checkpoint has {found.tolist()}."
        )


def _float32(tensor):
    return np.asarray(tensor.float() if hasattr(tensor, "float") else tensor, np.float32)


def _convert(tensor, shape, name, path):
    """A PyTorch tensor as the float32 array of a Keras variable."""
    try:
        array = _float32(tensor)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} of the checkpoint is no tensor of real numbers.") from error
    if array.ndim == 4:
        array = array.transpose(CONV_AXES)
    elif array.size == 1 and shape in {(), (1,), (1, 1, 1)}:  # one slope for all channels
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} is {array.shape} in Keras' order, but {path} is {shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite.")
    return array
