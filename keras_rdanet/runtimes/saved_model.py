"""SavedModels as functions from images to images."""

from pathlib import Path

from keras_rdanet.files import read_bytes, reading
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.trust import check_saved_model


def open_file(
    path: str | Path, precision: str | None = None, *, trust: bool = False
) -> ImageFunction:
    """Open a SavedModel that `export_saved_model` wrote; needs TensorFlow, not Keras.

    Args:
        path: The folder.
        precision: Precision of the computation, `"float32"`; `None` means the
            same.
        trust: Whether to open it without looking through its operations first.

    Raises:
        ValueError: if the folder does not say which network it is,
            another precision is asked for, or `trust.check_saved_model` refuses it.
        ImportError: if TensorFlow is not installed.
        OSError: if it cannot be read.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise ImportError(
            "SavedModels need TensorFlow; pip install 'keras-rdanet[train]'."
        ) from error
    if not trust:
        check_saved_model(path)
    with reading(path, "a SavedModel"):
        loaded = tf.saved_model.load(str(path))

    def restore(images):
        # By way of `loaded`, which owns the weights: a signature does not keep them alive.
        serve = loaded.signatures["serving_default"]
        return serve(degraded=tf.constant(images, tf.float32))["restored"].numpy()

    return meta.image_function(metadata, restore, path, precision)


def read_metadata(path: Path) -> meta.ExportMetadata:
    """The metadata of a SavedModel.

    Raises:
        ValueError: if keras-rdanet did not write it.
        OSError: if it cannot be read.
    """
    file = path / "assets.extra" / meta.FILE_NAME
    if not file.is_file():
        raise ValueError(
            f"{path} does not say which network it is; `keras-rdanet export` writes SavedModels "
            "that do."
        )
    with reading(path, "a SavedModel of this version"):
        return meta.from_json(read_bytes(file))
