"""Build a TensorRT engine from an ONNX file of keras-rdanet, on the GPU that will run it.

Needs Python and NVIDIA's `tensorrt` package alone: python NAME.build_engine.py
The five names below are written by `keras_rdanet.export.formats.tensorrt` for each file.
"""

import sys
from pathlib import Path

ONNX = "model.onnx"
ENGINE = "model.engine"
# TensorRT's names of the precisions that it may use besides float32.
FLAGS: tuple[str, ...] = ("FP16",)
INPUT = "degraded"
# Smallest, usual and largest input, NHWC.
PROFILE = ((1, 64, 64, 3), (1, 256, 256, 3), (1, 512, 512, 3))


def build(source: Path) -> bytes:
    """Return the engine of an ONNX file.

    Raises:
        RuntimeError: if TensorRT cannot read the file or build the engine.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # Until TensorRT 10 a batch of any size had to be asked for.
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(source.read_bytes()):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise RuntimeError(f"TensorRT cannot read {source}: {errors}")
    config = builder.create_builder_config()
    for flag in FLAGS:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *PROFILE)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError(f"TensorRT built no engine from {source}; its messages are above.")
    return bytes(engine)


def main() -> None:
    """Build the engine of the file beside this script."""
    folder = Path(__file__).parent
    try:
        engine = build(folder / ONNX)
    except (ImportError, OSError, RuntimeError) as error:
        sys.exit(f"build_engine: {error}")
    (folder / ENGINE).write_bytes(engine)
    print(folder / ENGINE)


if __name__ == "__main__":
    main()
