"""TFLite files as functions from images to images, with LiteRT and NumPy alone."""

from pathlib import Path

import numpy as np

from keras_rdanet.files import read_bytes, reading
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.profiling import usable_cores
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.trust import check_tflite


def open_file(
    path: str | Path,
    precision: str | None = None,
    *,
    threads: int | None = None,
    trust: bool = False,
) -> ImageFunction:
    """Open a `.tflite` file that keras-rdanet wrote; needs neither Keras nor TensorFlow.

    Pictures of a batch are restored one after the other. A file with uint8
    samples sees images clipped and rounded to 8 bits.

    Args:
        path: The file.
        precision: Precision that the file must compute in; `None` for any.
        threads: Number of threads of the interpreter; by default all usable cores.
        trust: Whether to open it without looking through its operations first.

    Raises:
        ValueError: if the file is damaged or was not written by keras-rdanet,
            another precision is asked for, or `trust.check_tflite` refuses it.
        ImportError: if LiteRT is not installed.
        OSError: if it cannot be read.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise ImportError(
            ".tflite files need LiteRT; pip install 'keras-rdanet[lite]' or ai-edge-litert."
        ) from error
    path = Path(path)
    content = read_bytes(path)
    with reading(path, "a TFLite file of this version"):
        metadata = meta.from_json(_text(content, path))
    if not trust:
        check_tflite(content, path)
    with reading(path, "a TFLite file that this LiteRT can run"):
        interpreter = Interpreter(model_content=content, num_threads=threads or usable_cores())
        interpreter.allocate_tensors()
        source = interpreter.get_input_details()[0]
        made = interpreter.get_output_details()[0]["index"]

    def restore_one(image):
        if tuple(interpreter.get_input_details()[0]["shape"]) != image.shape:
            interpreter.resize_tensor_input(source["index"], image.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], to_samples(image, source["dtype"]))
        try:
            interpreter.invoke()
        except RuntimeError as error:  # int8 may divide by what it rounded to zero
            raise ValueError(f"{path.name} cannot restore this picture: {error}") from error
        return to_float(interpreter.get_tensor(made))

    def restore(images):
        images = np.asarray(images, np.float32)
        if metadata.tile_shape not in (None, images.shape[1:3]):
            height, width = metadata.tile_shape
            raise ValueError(
                f"{path.name} only takes images of {height}x{width} pixels, "
                f"got {images.shape[1]}x{images.shape[2]}."
            )
        return np.concatenate([restore_one(images[i : i + 1]) for i in range(len(images))])

    return meta.image_function(metadata, restore, path, precision)


def _text(content: bytes, path: Path) -> bytes:
    """The metadata of a file."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise ValueError(f"{path} is damaged or no TFLite file.")
    with reading(path, "a TFLite file"):
        model = schema.Model.GetRootAs(content)
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        buffers = {entry.Name(): model.Buffers(entry.Buffer()) for entry in entries}
        found = buffers.get(meta.FILE_NAME.encode())
        text = found and found.DataAsNumpy().tobytes()
    if not text:
        raise ValueError(
            f"{path} does not say which network it is; `keras-rdanet export` writes files that do."
        )
    return text
