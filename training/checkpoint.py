"""One file that holds everything a run needs to go on."""

import contextlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_rdanet.files import write_bytes

FORMAT = "keras_rdanet training checkpoint 1"


def _variables(model):
    """Name -> variable of the weights and of the optimizer, with its averages."""
    named = {f"model/{variable.path}": variable for variable in model.variables}
    # Optimizer variables are numbered: their paths alone need not be unique.
    for index, variable in enumerate(model.optimizer.variables):
        named[f"optimizer/{index:05d}/{variable.path}"] = variable
    return named


def save_checkpoint(path: str | Path, model, state: dict) -> None:
    """Write weights, optimizer and `state`, atomically.

    Args:
        path: The target; an existing file is replaced in one step.
        model: Compiled, its optimizer built.
        state: JSON values: step, config and whatever else the run keeps.

    Raises:
        OSError: if the file cannot be written; an older one is then untouched.
    """
    arrays = {name: np.array(variable, order="C") for name, variable in _variables(model).items()}
    metadata = {"format": FORMAT, "state": json.dumps(state)}
    write_bytes(path, save(arrays, metadata))


def read_state(path: str | Path) -> dict:
    """The `state` of a checkpoint.

    Raises:
        ValueError: if the file is no checkpoint of this package.
        OSError: if it cannot be read.
    """
    with _open(path) as file:
        return json.loads(file.metadata()["state"])


def load_checkpoint(path: str | Path, model) -> dict:
    """Restore a compiled model and its optimizer; return the `state`.

    Raises:
        ValueError: if the file is no checkpoint, or one of another network or
            optimizer; nothing is changed then.
        OSError: if it cannot be read.
    """
    variables = _variables(model)
    with _open(path) as file:
        stored = set(file.keys())
        if stored != set(variables):
            odd = sorted(stored ^ set(variables))
            raise ValueError(
                f"{path} is a checkpoint of another network or optimizer: "
                f"{len(odd)} variables differ, such as {odd[0]}."
            )
        for name, variable in variables.items():
            shape = tuple(file.get_slice(name).get_shape())
            if shape != tuple(variable.shape):
                raise ValueError(
                    f"{path}: {name} has shape {shape}, the network {tuple(variable.shape)}."
                )
        for name, variable in variables.items():
            variable.assign(file.get_tensor(name))
        return json.loads(file.metadata()["state"])


@contextlib.contextmanager
def _open(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ValueError(f"{path} is not a training checkpoint of this version.")
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a checkpoint: {error}") from None
