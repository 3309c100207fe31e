"""Weights as `.safetensors` files: arrays by name and a few words about them, no code.

A file says which preset it belongs to; the network is always built from our
own presets, never from anything else in the file.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from keras_rdanet.files import file_sha256, open_regular, read_bytes, reading, write_bytes
from keras_rdanet.tasks import registry as tasks

FORMAT_VERSION = 1
METADATA_KEY = "keras-rdanet"
DTYPES = {"float32": np.float32, "float16": np.float16}
# The header of our largest network takes 50 kB; a length beyond this is an
# attempt to exhaust memory, or another kind of file.
MAX_HEADER_BYTES = 2**20
# No preset has more of anything.
MAX_OVERRIDE = 512

# What version 0.1.0 wrote as the task of the weights that ship.
_TASKS_IN_PROSE = {
    "blind Gaussian denoising, sigma 0-50": "gaussian_noise",
    "camera noise of processed photos": "camera_noise",
    "JPEG artefacts, quality 10-40": "jpeg",
}
_NAMES = {"F32": "float32", "F16": "float16"}  # safetensors' names of the dtypes
# A file with holes takes more memory than disk; compressing file systems save less on weights.
_MAX_HOLES = 4


def save_weights(model, path, *, metadata: Mapping | None = None, dtype: str = "float32") -> None:
    """Write the weights of a Keras model, whole or not at all.

    Args:
        model: A Keras model, whose variable paths become the names of the arrays.
        path: The `.safetensors` file; its folder must exist.
        metadata: Values that JSON can hold: `"preset"` names the preset that rebuilds the network;
            `"overrides"` are the arguments that differ from it, `{}` if absent; `"task"` is an
            identifier of `keras_rdanet.tasks.registry`; `"description"` is text. By default the
            result of `describe`.
        dtype: `"float32"`, or `"float16"` for half the size.

    Raises:
        ValueError: if a weight is not finite in `dtype`, two share a path, or
            there is no such task.
        OSError: if the file cannot be written.
    """
    if metadata is None:
        metadata = describe(model)
    write_tensors(
        path, {name: v.numpy() for name, v in variables_by_path(model).items()}, metadata, dtype
    )


def describe(model) -> dict:
    """Return the metadata for a weights file of a network.

    Raises:
        ValueError: if it was made by its class, so that nothing says its preset.
    """
    if model.origin is None:
        raise ValueError(
            f"{model.name} was made by its class, so nothing says how to make it again; make it "
            "with `keras_rdanet.create_model`, or give `metadata` with the `preset`."
        )
    facts = asdict(model.origin)
    for key in ("weights", "sha256"):  # of the file that it was read from
        del facts[key]
    return {key: value for key, value in facts.items() if value is not None}


def load_weights(model, path, *, sha256: str | None = None) -> None:
    """Set every weight of a Keras model from a file; float16 files included.

    Args:
        model: The network the file was written for.
        path: A `.safetensors` file whose arrays are named by variable path.
        sha256: Hexadecimal hash that the file must have.

    Raises:
        ValueError: if the hash, the names or the shapes differ, or a value is
            not finite; the model then keeps its weights.
        OSError: if the file cannot be read.
    """
    variables = variables_by_path(model)
    _check_hash(path, sha256)
    expected = {name: tuple(v.shape) for name, v in variables.items()}
    check_fit(expected, shapes(path), source=path)
    tensors = read_tensors(path)
    for name, variable in variables.items():
        variable.assign(tensors[name])


def write_tensors(
    path, tensors: Mapping[str, np.ndarray], metadata: Mapping, dtype: str = "float32"
) -> None:
    """Write arrays by name; arguments and errors as in `save_weights`."""
    import safetensors.numpy

    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be one of {sorted(DTYPES)}, got {dtype!r}.")
    with np.errstate(over="ignore"):  # reported by the check for infinities below
        stored = {
            name: np.ascontiguousarray(array, dtype=DTYPES[dtype])
            for name, array in tensors.items()
        }
    check_finite(stored, f"the weights to be written as {dtype}")
    check_overrides(metadata.get("overrides", {}), path)
    created = {name: version(name) for name in ("keras-rdanet", "keras", "numpy", "safetensors")}
    header = {
        "format_version": FORMAT_VERSION,
        "overrides": {},
        **metadata,
        "created_with": created,
    }
    if metadata.get("task") is not None:
        header["task"] = tasks.resolve(metadata["task"])
    # One entry: the order of several would vary, and with it the hash of the file.
    text = json.dumps(header, sort_keys=True)
    write_bytes(path, safetensors.numpy.save(stored, {METADATA_KEY: text}))


def read_tensors(path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a `.safetensors` file as float32, checked to be finite.

    Raises:
        ValueError: if this is no such file, its hash differs from `sha256`,
            or a value is not finite.
        OSError: if it cannot be read.
    """
    import safetensors.numpy

    path = Path(path)
    _check_hash(path, sha256)
    kinds = {entry["dtype"] for entry in _header(path)[0].values()}
    if not kinds <= set(_NAMES):
        raise ValueError(
            f"{path} holds {sorted(kinds - set(_NAMES))}; weights must be float32 or float16."
        )
    with reading(path, "a whole .safetensors file"):
        stored = safetensors.numpy.load(read_bytes(path))
        tensors = {name: array.astype(np.float32) for name, array in stored.items()}
    check_finite(tensors, path)
    return tensors


def _check_hash(path, sha256: str | None) -> None:
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        raise ValueError(
            f"{path} is damaged or not the file it should be: its SHA-256 is {found}, "
            f"expected {sha256}. Install the package again."
        )


def read_metadata(path) -> dict:
    """The metadata of a file of `save_weights`, without reading its arrays.

    Returns:
        At least `"preset"`, the name of a preset; `"overrides"`, a dict of
        constructor arguments; `"task"`, an identifier of the registry of tasks,
        or `None`; `"description"`, text or `None`.

    Raises:
        ValueError: if the file was not written by `save_weights`, or asks for
            a number beyond `MAX_OVERRIDE`.
        OSError: if it cannot be read.
    """
    with reading(path, "a weights file of this version"):
        return _described(_header(path)[1], path)


def _described(described: Mapping[str, str], path) -> dict:
    try:
        metadata = json.loads(described[METADATA_KEY])
        written_here = (
            metadata["format_version"] == FORMAT_VERSION
            and isinstance(metadata["preset"], str)
            and isinstance(metadata["overrides"], dict)
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        written_here = False
    if not written_here:
        raise ValueError(
            f"{path} does not say which preset it belongs to in format {FORMAT_VERSION}; "
            "`keras-rdanet convert` makes such a file from a checkpoint of the original code."
        )
    check_overrides(metadata["overrides"], path)
    return {**metadata, **told_apart(metadata.get("task"), metadata.get("description"))}


def told_apart(task: str | None, description: str | None = None) -> dict[str, str | None]:
    """Tell the identifier of a task from the prose that version 0.1.0 wrote in its place.

    Returns:
        `"task"`, an identifier of the registry of tasks, or `None` if `task` is
        prose that is not known; and `"description"`, which is then that prose.
    """
    try:
        return {"task": task and tasks.resolve(task), "description": description}
    except ValueError:
        return {"task": _TASKS_IN_PROSE.get(str(task)), "description": description or str(task)}


def shapes(path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in a `.safetensors` file, from its header.

    Raises:
        ValueError: if this is no such file, or its arrays do not fill it exactly.
        OSError: if it cannot be read.
    """
    return {name: tuple(entry["shape"]) for name, entry in _header(path)[0].items()}


def check_fit(expected: Mapping[str, tuple], found: Mapping[str, tuple], *, source) -> None:
    """Compare names and shapes in both directions.

    Raises:
        ValueError: listing all that is missing, unused or of another shape.
    """
    missing = sorted(set(expected) - set(found))
    unused = sorted(set(found) - set(expected))
    mismatched = [
        f"{name} is {found[name]} instead of {expected[name]}"
        for name in sorted(set(expected) & set(found))
        if expected[name] != found[name]
    ]
    lists = {"missing": missing, "unused": unused, "of another shape": mismatched}
    problems = [f"{kind}: {', '.join(names)}" for kind, names in lists.items() if names]
    if problems:
        raise ValueError(f"{source} does not fit the network; {'; '.join(problems)}.")


def variables_by_path(model):
    """The weights of a Keras model by path, which must tell them apart.

    Raises:
        ValueError: if two share a path.
    """
    variables = {variable.path: variable for variable in model.weights}
    if len(variables) != len(model.weights):
        raise ValueError(f"Two weights of {model.name} share a path; name its layers.")
    return variables


def _header(path):
    """The tensor entries and the raw metadata of a `.safetensors` file."""
    path = Path(path)
    with reading(path, "a .safetensors file"), open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"{path} is not a .safetensors file: its header would be {length} B.")
        entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", {})
        _check_layout(entries, size - 8 - length)
        check_solid(path)
    return entries, metadata


def _check_layout(entries: Mapping[str, dict], size: int) -> None:
    """Refuse arrays that do not lie one behind the other, from the first byte to the last."""
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: entry["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype = _NAMES.get(entry["dtype"])
        width = np.dtype(dtype).itemsize if dtype else None
        numbers = math.prod(entry["shape"])
        if min(entry["shape"], default=0) < 0 or begin != place or end < begin:
            raise ValueError("its arrays overlap or leave gaps")
        if width is not None and end - begin != numbers * width:
            raise ValueError(f"an array of the shape {entry['shape']} has {end - begin} B")
        place = end
    if place != size:
        raise ValueError(f"its arrays take {place} B and it has {size} B for them")


def check_solid(path: str | Path) -> None:
    """Refuse a file that is mostly holes, which would take memory that it does not take on disk.

    Raises:
        ValueError: if it is.
        OSError: if it cannot be read.
    """
    status = os.stat(path)
    stored = 512 * getattr(status, "st_blocks", 0)  # 0 where that is not known
    if stored and status.st_size > _MAX_HOLES * stored:
        raise ValueError(f"{path} is damaged: only {stored} of its {status.st_size} B are stored.")


def check_overrides(overrides: Mapping, path) -> None:
    """Refuse arguments of a network that no preset has, such as a huge width.

    Raises:
        ValueError: if a value is neither text nor a number up to `MAX_OVERRIDE`,
            nor a list of them.
    """
    for name, value in overrides.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            number = isinstance(item, int | float)
            if not (isinstance(item, str) or (number and abs(item) <= MAX_OVERRIDE)):
                raise ValueError(
                    f"{path}: the override {name[:200]} = {repr(value)[:200]} is not text or a "
                    f"number up to {MAX_OVERRIDE}."
                )


def check_finite(tensors: Mapping[str, np.ndarray], source) -> None:
    """Refuse arrays with values that are not finite.

    Raises:
        ValueError: naming those arrays.
    """
    bad = sorted(name for name, array in tensors.items() if not np.isfinite(array).all())
    if bad:
        raise ValueError(f"Not finite in {source}: {', '.join(bad)}.")
