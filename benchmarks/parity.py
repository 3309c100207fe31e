"""Compare our networks and functions with reference outputs of the original code.

    python benchmarks/parity.py FOLDER [--record] [--strict]

FOLDER holds `.npz` files. One with a `config` (JSON with `model` and `kwargs`) is a
network: its parameters are `param/<PyTorch name>`, then come `input`, `output_0`, ...
and intermediates `mid/<name>`, all NCHW. One without holds results of losses, schedules
and metrics, known by their names (see `parity_functions.py`).

What there is no counterpart for is listed as `unknown`, and fails with `--strict` only:
goldens of networks that are still to come may lie in the same folder.
"""

import importlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import keras
import numpy as np
from parity_functions import FUNCTIONS, INPUTS

from keras_rdanet.weights.from_torch import from_torch

TOLERANCE = 1e-4  # of the range of the reference output


@dataclass(frozen=True)
class Check:
    """One comparison, or the reason why there is none.

    Args:
        file: Name of the golden file.
        output: Which of its arrays.
        status: `"ok"`, `"failed"` or `"unknown"`.
        error: The largest difference, in `unit`.
        tolerance: The largest error that passes.
        unit: `"of range"` (largest minus smallest reference value),
            `"relative"`, or `"absolute"`.
        note: Why there is no error.
    """

    file: str
    output: str
    status: str
    error: float | None = None
    tolerance: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Network:
    """How a network of ours stands for one of the original code.

    Args:
        class_path: `"module:Class"`.
        arguments: Turns the original's `kwargs` into our constructor's.
        stages: Our outputs, in the order of `output_0`, ...
        intermediates: Regular expressions for `mid/` names, and the path of
            the layer whose output it is; the group `call` says at which of
            its calls, counted from 1.
    """

    class_path: str
    arguments: Callable[[dict], dict]
    stages: tuple[str, ...]
    intermediates: tuple[tuple[str, str], ...]


def _tsp_rdanet_arguments(kwargs):
    kwargs = {"nc": 64, "bias": True, **kwargs}  # the defaults of the original
    if kwargs["in_nc"] != kwargs["out_nc"]:
        raise ValueError("our TSP-RDANet has as many channels going out as coming in")
    return {
        "filters": kwargs["nc"],
        "channels": kwargs["in_nc"],
        "use_bias": kwargs["bias"],
        "image_residual": False,
    }


NETWORKS = {
    "tsp_rdanet": Network(
        "keras_rdanet.models.tsp_rdanet:TSPRDANet",
        _tsp_rdanet_arguments,
        ("stage1", "stage2"),
        (
            (r"head", "conv_head"),
            (r"head_(sab|cab)", r"\1"),
            (r"head_sab_logit", "sab/conv"),
            (r"head_cab_gate", "cab/excite"),
            (r"(rdab|hdrdab|down)_(?P<call>\d)", r"\1"),
            (r"up_(?P<call>\d)", "pad_to"),
            (r"(rdab|hdrdab)_(?P<call>\d)_dense(\d)", r"\1/conv\3"),
            (r"rdab_(?P<call>\d)_sab_logit", "rdab/sab/conv"),
            (r"hdrdab_(?P<call>\d)_cab_gate", "hdrdab/cab/excite"),
        ),
    ),
}


def check_folder(folder: Path) -> Iterator[Check]:
    """Check every `.npz` file of a folder; a damaged one fails, and the rest goes on."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise click.UsageError(f"{folder} holds no .npz files.")
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as golden:
                yield from check_file(file.name, dict(golden))
        except Exception as error:  # whatever a file provokes is its own failure
            yield Check(file.name, "", "failed", note=f"{type(error).__name__}: {error}")


def check_file(name: str, golden: dict[str, np.ndarray]) -> Iterator[Check]:
    """Check one golden file, given as its arrays."""
    if "config" not in golden:
        yield from _check_functions(name, golden)
        return
    config = json.loads(str(golden["config"]))
    if "output_0" not in golden:
        raise ValueError("holds no outputs")
    if config["model"] in NETWORKS:
        yield from _check_network(name, golden, config, NETWORKS[config["model"]])
    else:
        yield Check(name, "", "unknown", note=f"model {config['model']!r}")


def _check_network(name, golden, config, network) -> Iterator[Check]:
    if config.get("preprocess", "none") != "none":
        raise ValueError(f"no rule for preprocess {config['preprocess']!r}")
    module, class_name = network.class_path.split(":")
    build = getattr(importlib.import_module(module), class_name)
    model = build(**network.arguments(config["kwargs"]))
    from_torch(model, {k[6:]: v for k, v in golden.items() if k.startswith("param/")})
    outputs, calls = run_and_record(model, _nhwc(golden["input"]))
    for key in sorted(golden, key=_natural):
        if match := re.fullmatch(r"output_(\d+)", key):
            ours = outputs[network.stages[int(match[1])]]
        elif key.startswith("mid/"):
            ours = _intermediate(key.removeprefix("mid/"), network, calls)
        else:
            continue
        if ours is None:
            yield Check(name, key, "unknown", note="intermediate")
        else:
            yield compare(name, key, ours, _nhwc(golden[key]))


def run_and_record(model, images):
    """Run a model and note what each of its layers returns, call after call.

    Returns:
        The outputs of the model, and layer path -> list of outputs. Shared
        layers have several, inner layers of a block are included.
    """
    calls = defaultdict(list)

    def recorded(layer):
        call = layer.call

        def recording(*args, **kwargs):
            output = call(*args, **kwargs)
            calls[layer.path].append(output)
            return output

        return recording

    for layer in model._flatten_layers(include_self=False):
        layer.call = recorded(layer)
    return model(images), calls


def _intermediate(name, network, calls):
    for pattern, layer in network.intermediates:
        if match := re.fullmatch(pattern, name):
            call = int(match.groupdict().get("call") or 1) - 1
            return calls[match.expand(layer)][call]
    return None


def _check_functions(name, golden) -> Iterator[Check]:
    for key in golden:
        if re.fullmatch(INPUTS, key):
            continue
        for pattern, function, tolerance, unit in FUNCTIONS:
            if match := re.fullmatch(pattern, key):
                yield compare(
                    name, key, function(golden, *match.groups()), golden[key], tolerance, unit
                )
                break
        else:
            yield Check(name, key, "unknown", note="no function of ours by this name")


def compare(name, output, ours, golden, tolerance=TOLERANCE, unit="of range") -> Check:
    """Compare two arrays; a NaN or another shape fails."""
    ours = np.asarray(keras.ops.convert_to_numpy(ours), np.float64)
    golden = np.asarray(golden, np.float64)
    if ours.shape != golden.shape:
        note = f"shape {ours.shape} instead of {golden.shape}"
        return Check(name, output, "failed", note=note)
    with np.errstate(invalid="ignore"):
        difference = np.where(ours == golden, 0.0, np.abs(ours - golden))  # inf equals inf
    if unit == "of range":
        difference = difference / (np.ptp(golden) or 1.0)
    elif unit == "relative":
        difference = difference / np.abs(golden)
    error = float(difference.max())
    return Check(name, output, "ok" if error <= tolerance else "failed", error, tolerance, unit)


def _nhwc(array):
    return np.asarray(array, np.float32).transpose(0, 2, 3, 1)


def _natural(key):
    """Sorts `dense8` before `dense10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def _use_exact_float32():
    """Switch off the shortened mantissas that GPUs use for float32 convolutions."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")


def _line(check):
    error = "" if check.error is None else f"{check.error:.1e} {check.unit}"
    return f"{check.status:8} {check.file:45} {check.output:45} {error}{check.note}"


def _record(checks):
    from device import write_results

    write_results(
        "parity",
        [asdict(check) for check in checks],
        title="Agreement with the original code",
        command="python benchmarks/parity.py FOLDER --record",
        settings={"backend": keras.backend.backend()},
        notes="`error` is the largest difference from the reference, in `unit`; `of range` "
        "divides it by the largest minus the smallest reference value.",
    )


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--record", is_flag=True, help="Write benchmarks/results/parity.{json,md}.")
@click.option("--strict", is_flag=True, help="Fail on what is unknown, too.")
def main(folder, record, strict):
    """Print one line a comparison; exit 1 if any failed."""
    _use_exact_float32()
    checks = []
    for check in check_folder(folder):
        click.echo(_line(check))
        checks.append(check)
    if record:
        _record(checks)
    count = {s: sum(c.status == s for c in checks) for s in ("ok", "failed", "unknown")}
    click.echo(f"{count['ok']} ok, {count['failed']} failed, {count['unknown']} unknown")
    sys.exit(int(bool(count["failed"] or (strict and count["unknown"]))))


if __name__ == "__main__":
    main()
