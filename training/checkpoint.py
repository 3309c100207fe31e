"""One file that holds everything a run needs to go on."""

import contextlib
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from keras_rdanet.files import reading, write_bytes

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
        path: Path of the checkpoint; an existing file is replaced in one step.
        model: A compiled model whose optimizer is built.
        state: Values that JSON can hold: step, config and whatever else the run keeps.

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
        return _state(file)


def _state(file):
    """The state, refused if it holds values that no run can have written."""
    state = json.loads(file.metadata()["state"])
    kinds = {"step": int, "seconds": int | float, "history": list, "config": dict}
    for key, kind in kinds.items():
        if not isinstance(state[key], kind):
            raise ValueError(f"`{key}` is {state[key]!r}")
    if not isinstance(state.get("folders", {}), dict):
        raise ValueError(f"`folders` is {state['folders']!r}")
    if state["step"] < 0 or not state["seconds"] >= 0:
        raise ValueError(f"step {state['step']} after {state['seconds']} s")
    best = state["best_psnr"]
    if not isinstance(best, int | float | None) or best != best:
        raise ValueError(f"`best_psnr` is {best!r}")
    return state


def load_checkpoint(path: str | Path, model) -> dict:
    """Restore a compiled model and its optimizer; return the `state`.

    Raises:
        ValueError: if the file is no checkpoint, or one of another network or
            optimizer; nothing is changed then.
        OSError: if it cannot be read.
    """
    variables = _variables(model)
    with _open(path) as file:
        state = _state(file)
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
        arrays = {name: file.get_tensor(name) for name in variables}
        odd = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if odd:
            raise ValueError(f"{len(odd)} variables are not finite, such as {odd[0]}")
        for name, variable in variables.items():
            variable.assign(arrays[name])
        return state


@contextlib.contextmanager
def _open(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    with reading(path, "a checkpoint"), safe_open(path, framework="numpy") as file:
        if (file.metadata() or {}).get("format") != FORMAT:
            raise ValueError(f"{path} is not a training checkpoint of this version.")
        yield file
