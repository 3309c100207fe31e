"""Sidecars that build a TensorRT engine from an ONNX file: a `trtexec` command and a script.

Engines only run on the kind of GPU and the version of TensorRT they were built
with, so they are built where they run; TensorFlow's own way, TF-TRT, ended
with version 2.17 (see `tftrt`).
"""

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import onnx

from keras_rdanet.export.formats import tensorrt_builder
from keras_rdanet.export.formats.onnx import read_metadata
from keras_rdanet.export.graph import INPUT
from keras_rdanet.export.job import ExportJob
from keras_rdanet.export.tftrt import Profile, check_profile
from keras_rdanet.files import replacing


def write_tensorrt(
    source: str | Path,
    *,
    precision: Literal["FP32", "FP16"] = "FP16",
    profile: Profile | None = None,
) -> tuple[Path, Path]:
    """Write `NAME.trtexec.sh` and `NAME.build_engine.py` beside `NAME.onnx`.

    Both build the same `NAME.engine` for the same sizes; the script needs
    Python and NVIDIA's `tensorrt` package only.

    Args:
        source: File of `export_onnx`, or of `export_qdq` with `symmetric`.
        precision: Precision that the engine may compute in; int8 is used where the file has it.
        profile: Sizes that the engine is built for.

    Returns:
        The paths of the command and of the script.

    Raises:
        ValueError: if the file is not ours or TensorRT does not take it, or
            the profile does not suit the network.
        OSError: if a file cannot be read or written.
    """
    source = Path(source)
    profile = profile or Profile()
    if precision not in ("FP32", "FP16"):
        raise ValueError(f'`precision` must be "FP32" or "FP16", got {precision!r}.')
    proto = onnx.load(source)
    metadata = read_metadata(proto)
    check_profile(profile, asdict(metadata))
    flags = ("FP16",) if precision == "FP16" else ()
    if metadata.variant == "int8":
        _check_symmetric(proto, source)
        flags = ("INT8", *flags)
    shapes = [
        (*size, metadata.channels) for size in (profile.minimum, profile.optimum, profile.maximum)
    ]
    return (
        _write(source.with_suffix(".trtexec.sh"), _command(source, flags, shapes)),
        _write(source.with_suffix(".build_engine.py"), _script(source, flags, shapes)),
    )


def write_sidecars(job: ExportJob, path: Path, variant: str) -> dict[str, str]:
    """Write both files beside the float32 ONNX file of a job, tuned for its size.

    Returns:
        Name -> what the file does; nothing for other variants.
    """
    if variant != "fp32":
        return {}
    size = job.size
    # The memory of networks that compare all positions grows with the square of the area.
    ends = (size, size) if job.metadata.support == "nonlocal" else (64, 512)
    least, most = min(ends[0], size), max(ends[1], size)
    profile = Profile((1, least, least), (1, size, size), (1, most, most))
    command, script = write_tensorrt(path, profile=profile)
    engine = f"builds a TensorRT engine from {path.name} on the GPU that will run it"
    return {command.name: f"{engine}, with trtexec", script.name: f"{engine}, with Python"}


def _command(source, flags, shapes):
    options = [
        f"--onnx={source.name}",
        f"--saveEngine={source.stem}.engine",
        *(f"--{flag.lower()}" for flag in flags),
        *(
            f"--{name}Shapes={INPUT}:{'x'.join(map(str, shape))}"
            for name, shape in zip(("min", "opt", "max"), shapes, strict=True)
        ),
    ]
    joined = " \\\n    ".join(map(shlex.quote, options))
    return f'#!/bin/sh\ncd "$(dirname "$0")" && exec trtexec \\\n    {joined} "$@"\n'


def _script(source, flags, shapes):
    """The text of `tensorrt_builder` with the values for one file."""
    text = Path(tensorrt_builder.__file__).read_text(encoding="utf-8")
    for name, value in {
        "ONNX": source.name,
        "ENGINE": f"{source.stem}.engine",
        "FLAGS: tuple[str, ...]": flags,
        "PROFILE": tuple(shapes),
    }.items():
        line = re.compile(rf"^{re.escape(name)} = .*$", re.MULTILINE)
        text = line.sub(lambda _: f"{name} = {value!r}", text, count=1)  # noqa: B023
    return text


def _check_symmetric(proto, source):
    kinds = {
        tensor.data_type for tensor in proto.graph.initializer if tensor.name.endswith("zero_point")
    }
    if onnx.TensorProto.UINT8 in kinds:
        raise ValueError(
            f"{source} is quantized to uint8, which TensorRT does not take; "
            "write it with `symmetric=True`."
        )


def _write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
