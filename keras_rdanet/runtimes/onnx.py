"""ONNX files as functions from images to images, with ONNX Runtime alone."""

from pathlib import Path

import numpy as np

from keras_rdanet.files import read_bytes, reading
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.profiling import usable_cores
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.trust import check_onnx


def open_file(
    path: str | Path,
    precision: str | None = None,
    *,
    threads: int | None = None,
    trust: bool = False,
) -> ImageFunction:
    """Open an `.onnx` file that keras-rdanet wrote; needs neither Keras nor TensorFlow.

    Args:
        path: The file.
        precision: Precision that the file must compute in; `None` for any.
        threads: Number of threads of the session; by default all usable cores.
        trust: Whether to open it without looking through its operations first.

    Raises:
        ValueError: if the file is damaged or was not written by keras-rdanet,
            another precision is asked for, or `trust.check_onnx` refuses it.
        ImportError: if ONNX Runtime, or onnx for the check, is not installed.
        OSError: if it cannot be read.
    """
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            ".onnx files need ONNX Runtime; pip install 'keras-rdanet[export]' or onnxruntime."
        ) from error
    path = Path(path)
    content = read_bytes(path)
    if not trust:
        check_onnx(content, path)
    with reading(path, "an ONNX file that ONNX Runtime can run here"):
        session = open_session(content, threads)
        texts = session.get_modelmeta().custom_metadata_map
    if meta.FILE_NAME not in texts:
        raise ValueError(
            f"{path} does not say which network it is; `keras-rdanet export` writes files that do."
        )

    with reading(path, "an ONNX file of this version"):
        metadata = meta.from_json(texts[meta.FILE_NAME])

    def restore(images):
        (restored,) = session.run(None, {"degraded": np.asarray(images, np.float32)})
        return restored

    return meta.image_function(metadata, restore, path, precision)


def open_session(content: bytes, threads: int | None = None):
    """Open an ONNX file on the CPU, with threads that do not spin while they wait.

    Spinning ones cost a machine that has other work several times what they compute.

    Args:
        content: Content of the file.
        threads: Number of threads; by default all usable cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        content,
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # to the same provider, with a banner on stdout
    )
