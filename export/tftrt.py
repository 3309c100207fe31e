"""A SavedModel with TensorRT engines inside (TF-TRT), for TensorFlow 2.15 to 2.17 on an NVIDIA GPU.

TensorFlow ended TF-TRT after 2.17, so this file runs where the rest of the
package may not: it needs Python 3.10, TensorFlow and NumPy, no Keras, and it
runs as a script of its own:

    python tftrt.py SAVED_MODEL OUTPUT --precision FP16 --max 4x512x512

INT8 wants `--calibration tiles.npy`, what `numpy.save` makes of
`keras_rdanet.export.quantization.calibration.calibration_tiles(...).degraded`.

With a newer TensorFlow go by way of ONNX: `keras_rdanet.export.formats.tensorrt`.
"""

import argparse
import json
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

PRECISIONS = ("FP32", "FP16", "INT8")
SIGNATURE = "serving_default"
INPUT = "degraded"
# Nodes that compute nothing.
BOOKKEEPING = {"Placeholder", "Const", "Identity", "NoOp"}


@dataclass(frozen=True)
class Profile:
    """The sizes that engines are built for, each `(N, H, W)`.

    Args:
        minimum: The smallest input.
        optimum: The input that engines are tuned for.
        maximum: The largest input; others fall back to TensorFlow.
    """

    minimum: tuple[int, int, int] = (1, 64, 64)
    optimum: tuple[int, int, int] = (1, 256, 256)
    maximum: tuple[int, int, int] = (1, 512, 512)

    def __post_init__(self):
        sizes = list(zip(self.minimum, self.optimum, self.maximum, strict=True))
        if any(not 1 <= least <= best <= most for least, best, most in sizes):
            raise ValueError(
                "A profile needs minimum <= optimum <= maximum in batch, height and width, "
                f"got {self.minimum}, {self.optimum}, {self.maximum}."
            )


def missing() -> str | None:
    """The reason why TF-TRT cannot run here, in one line; `None` if it can.

    TensorFlow itself is only loaded if its version and kind may have TF-TRT.
    """
    name, version = _tensorflow()
    if version is None:
        return "TF-TRT needs TensorFlow 2.15 to 2.17 built with TensorRT; there is none here."
    if not (2, 15) <= tuple(map(int, version.split(".")[:2])) <= (2, 17):
        return (
            f"TensorFlow {version} has no TF-TRT that works; use 2.15 to 2.17, or export to ONNX "
            "and build an engine with trtexec."
        )
    if name == "tensorflow-cpu":
        return "tensorflow-cpu was built without TensorRT; install tensorflow with CUDA."
    import tensorflow as tf
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils

    if not tf.sysconfig.get_build_info().get("is_tensorrt_build"):
        return f"This TensorFlow {version} was built without TensorRT; use NVIDIA's container."
    # get_loaded_tensorrt_version() would abort the process where there is no library.
    if not _pywrap_py_utils.is_tensorrt_enabled():
        linked = _pywrap_py_utils.get_linked_tensorrt_version()
        return f"libnvinfer.so.{linked[0]} was not found; install TensorRT {linked[0]}.{linked[1]}."
    if not tf.config.list_physical_devices("GPU"):
        return "TF-TRT needs an NVIDIA GPU; TensorFlow sees none."
    return None


def convert(
    saved_model: str | Path,
    output: str | Path,
    *,
    precision: str = "FP16",
    profile: Profile | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    minimum_segment_size: int = 3,
) -> dict:
    """Convert a SavedModel, build its engines and save it.

    Args:
        saved_model: A folder written by `keras-rdanet export`.
        output: The folder to make, which must not exist.
        precision: Precision of the engines, one of `PRECISIONS`.
        profile: The sizes to build engines for.
        calibration: For INT8 only: degraded tiles `(N, H, W, C)`, float32 in
            `[0, 1]`, all of one shape within the profile.
        minimum_segment_size: Fewer nodes than this stay with TensorFlow.

    Returns:
        The result of `segments` for the converted model.

    Raises:
        ImportError: if TF-TRT cannot run here; see `missing`.
        ValueError: if an argument does not fit the network.
        OSError: if a folder cannot be read or written, or `output` exists.
    """
    reason = missing()
    if reason:
        raise ImportError(reason)
    saved_model, output = Path(saved_model), Path(output)
    profile = profile or Profile()
    if output.exists():
        raise FileExistsError(f"{output} exists; name another folder.")
    network = read_network(saved_model)
    check_profile(profile, network)
    if (precision == "INT8") != (calibration is not None):
        raise ValueError("`calibration` is needed for INT8, and for INT8 only.")
    converter = make_converter(saved_model, precision, minimum_segment_size)
    if calibration is None:
        converted = converter.convert()
    else:
        tiles = check_tiles(calibration, profile, network["channels"])
        converted = converter.convert(calibration_input_fn=lambda: calibration_inputs(tiles))
    converter.build(lambda: profile_inputs(profile, network["channels"]))
    temporary = output.with_name(f".{uuid.uuid4().hex}")
    try:
        converter.save(str(temporary))
        shutil.copytree(saved_model / "assets.extra", temporary / "assets.extra")
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return segments(converted.graph.as_graph_def())


def make_converter(saved_model: str | Path, precision: str, minimum_segment_size: int = 3):
    """TensorFlow's converter for one of our SavedModels.

    Raises:
        ValueError: if the precision is unknown.
        RuntimeError: by TensorFlow, if TensorRT cannot be loaded.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}, got {precision!r}.")
    from tensorflow.python.compiler.tensorrt import trt_convert

    return trt_convert.TrtGraphConverterV2(
        input_saved_model_dir=str(saved_model),
        input_saved_model_signature_key=SIGNATURE,
        use_dynamic_shape=True,
        # One profile for the whole range, and one for each of its three sizes.
        dynamic_shape_profile_strategy="Range+Optimal",
        precision_mode=precision,
        minimum_segment_size=minimum_segment_size,
        maximum_cached_engines=1,
        use_calibration=precision == "INT8",
    )


def read_network(saved_model: Path) -> dict:
    """The metadata of a SavedModel.

    Raises:
        ValueError: if keras-rdanet did not write it.
    """
    file = saved_model / "assets.extra" / "keras_rdanet.json"
    if not file.is_file() or not (saved_model / "saved_model.pb").is_file():
        raise ValueError(f"{saved_model} is no SavedModel written by `keras-rdanet export`.")
    return json.loads(file.read_text(encoding="utf-8"))


def check_profile(profile: Profile, network: dict) -> None:
    """Raise a `ValueError` if the network does not take the sizes of a profile."""
    multiple, least = network["multiple"], network["min_size"]
    for _, height, width in (profile.minimum, profile.optimum, profile.maximum):
        for side in (height, width):
            if side % multiple or side < least:
                raise ValueError(
                    f"This network takes sides that are multiples of {multiple} and at least "
                    f"{least}; the profile has {height}x{width}."
                )


def profile_inputs(profile: Profile, channels: int) -> Iterator[dict]:
    """Yield an input of each size of a profile, for `build`; the values do not matter."""
    import tensorflow as tf

    for size in (profile.optimum, profile.minimum, profile.maximum):
        yield {INPUT: tf.zeros((*size, channels), tf.float32)}


def check_tiles(tiles: Iterable[np.ndarray], profile: Profile, channels: int) -> list[np.ndarray]:
    """Return calibration tiles as float32 arrays.

    Raises:
        ValueError: if there are none, they are not of one shape, or the shape
            is outside of the profile.
    """
    arrays = [np.asarray(tile, np.float32) for tile in tiles]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"`calibration` must hold tiles of one shape, got {sorted(shapes)}.")
    (shape,) = shapes
    inside = len(shape) == 4 and shape[3] == channels
    limits = zip(profile.minimum, shape, profile.maximum, strict=False)
    if not inside or any(not least <= side <= most for least, side, most in limits):
        raise ValueError(
            f"Calibration tiles of shape {shape} do not lie between {profile.minimum} and "
            f"{profile.maximum} with {channels} channels."
        )
    return arrays


def calibration_inputs(tiles: Iterable[np.ndarray]) -> Iterator[dict]:
    """Yield every tile as an input, for `convert`."""
    import tensorflow as tf

    for tile in tiles:
        yield {INPUT: tf.constant(tile)}


def segments(graph_def) -> dict:
    """Count the operations of a converted graph that TensorRT has taken.

    Returns:
        `engines`: how many; `inside` and `outside`: how often each operation
        is in an engine and left to TensorFlow; `share`: of all operations
        that are in an engine. Constants and such do not count.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    engines = [node for node in graph_def.node if node.op == "TRTEngineOp"]
    inside: Counter = Counter()
    for engine in engines:
        function = functions[engine.attr["segment_func"].func.name]
        inside.update(node.op for node in function.node_def)
    outside = Counter(node.op for node in graph_def.node if node.op != "TRTEngineOp")
    for name in BOOKKEEPING | {"_Arg", "_Retval"}:
        inside.pop(name, None)
        outside.pop(name, None)
    taken, left = sum(inside.values()), sum(outside.values())
    return {
        "engines": len(engines),
        "share": taken / max(taken + left, 1),
        "inside": dict(inside.most_common()),
        "outside": dict(outside.most_common()),
    }


def _tensorflow():
    """Name of the installed distribution and version of TensorFlow; `(None, None)` without one."""
    if "tensorflow" in sys.modules:
        return "tensorflow", sys.modules["tensorflow"].__version__
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None, None


def _size(text):
    try:
        batch, height, width = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1x256x256 (NxHxW)") from None
    return batch, height, width


def main(arguments: list[str] | None = None) -> None:
    """Run `convert` from the command line; a failure is one line and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--precision", choices=PRECISIONS, default="FP16")
    default = Profile()
    parser.add_argument("--min", type=_size, default=default.minimum, help="NxHxW")
    parser.add_argument("--opt", type=_size, default=default.optimum, help="NxHxW")
    parser.add_argument("--max", type=_size, default=default.maximum, help="NxHxW")
    parser.add_argument("--calibration", type=Path, help="tiles (T, H, W, C) as .npy, for INT8")
    options = parser.parse_args(arguments)
    try:
        tiles = options.calibration and np.load(options.calibration, allow_pickle=False)[:, None]
        result = convert(
            options.saved_model,
            options.output,
            precision=options.precision,
            profile=Profile(options.min, options.opt, options.max),
            calibration=tiles,
        )
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"tftrt: {error}")
    print(
        f"{options.output}: {result['engines']} engines with {result['share']:.1%} of the "
        f"operations; left to TensorFlow: {result['outside']}"
    )


if __name__ == "__main__":
    main()
