"""What every recorded result carries, and how it is written."""

import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_rdanet.files import replacing
from keras_rdanet.profiling import usable_cores

PACKAGES = ("keras-rdanet", "numpy", "opencv-python-headless", "scikit-image", "bm3d")
NETWORK_PACKAGES = ("tensorflow", "keras", "jax", "ai-edge-litert", "onnxruntime")


def environment() -> dict:
    """Describe the machine and the versions that a score or a timing came from.

    Loads nothing: the versions are those installed, and GPUs are named when
    TensorFlow is already in use.
    """
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "gpus": _gpu_names(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in PACKAGES + NETWORK_PACKAGES if _version(name)
        },
    }


def cell(value) -> str:
    """Return a value as tables show it: four digits of a float, nothing for `None`."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value).replace("|", "\\|")


def markdown_table(rows: Sequence[Mapping]) -> str:
    """Return the rows as a Markdown table; columns in order of appearance."""
    columns = _columns(rows)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def text_table(rows: Sequence[Mapping]) -> str:
    """Return the rows as columns for a terminal: the first to the left, the others to the right."""
    columns = _columns(rows)
    lines = [columns, *([cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() + "\n"
        for line in lines
    )


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file whole or not at all; folders on the way are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` as JSON, whole or not at all; infinity is written as text."""
    write_text(
        path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _plain(value):
    """Turn NumPy scalars into numbers, and what JSON cannot hold into text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(value)
    return value


def _columns(rows):
    return list(dict.fromkeys(name for row in rows for name in row))


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu_names():
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    describe = tensorflow.config.experimental.get_device_details
    gpus = tensorflow.config.list_physical_devices("GPU")
    return [describe(gpu).get("device_name", gpu.name) for gpu in gpus]
