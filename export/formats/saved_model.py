"""A network as a SavedModel, for TensorFlow alone: TF Serving, tf.saved_model.load, converters."""

import collections
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_rdanet.export.formats.orientation import upright
from keras_rdanet.export.graph import INPUT, OUTPUT, restore_function
from keras_rdanet.export.job import ExportJob
from keras_rdanet.files import replacing_folder, write_text
from keras_rdanet.runtimes import metadata as meta

# TF Serving's REST interface takes and gives tensors called `*_bytes` as base64.
INPUT_BYTES = f"{INPUT}_bytes"
OUTPUT_BYTES = f"{OUTPUT}_bytes"


def export_saved_model(model, directory: str | Path, metadata: meta.ExportMetadata) -> Path:
    """Write a network as a SavedModel; batch, height and width stay free.

    Its signatures:

    - `serving_default`: `degraded` `(N, H, W, C)` float32 in `[0, 1]` to
      `restored` `(N, scale * H, scale * W, C)` float32, not clipped. Height
      and width must suit the network (`multiple` and `min_size` of the metadata).
    - `serve_uint8`: the same in uint8; any height and width.
    - `serve_bytes`: `degraded_bytes` `(N,)`, encoded PNG or JPEG pictures of
      any sizes, to `restored_bytes` `(N,)`, encoded 8-bit PNG. Pictures are
      loaded with the network's channels, 16-bit PNG in full depth, alpha dropped,
      and turned upright as their EXIF orientation says.

    Args:
        model: A `RestorationModel` in float32.
        directory: The folder to make; a SavedModel there is replaced whole.
        metadata: Metadata that is written beside the graph, for `open_model`.

    Returns:
        The folder.

    Raises:
        ValueError: if the network cannot be traced, see `restore_function`.
        OSError: if the folder cannot be written, or is there and is no SavedModel.
    """
    directory = Path(directory)
    if directory.exists() and not (directory / "saved_model.pb").is_file():
        raise FileExistsError(f"{directory} exists and is not a SavedModel; name another folder.")
    with replacing_folder(directory) as temporary:
        archive(model).write_out(str(temporary), verbose=False)
        write_text(temporary / "assets.extra" / meta.FILE_NAME, metadata.to_json())
    return directory


def write(job: ExportJob, path: Path, variant: str) -> None:
    """Write the network of a job; there is one variant."""
    export_saved_model(job.model, path, job.metadata)


def inspect(path: Path) -> dict[str, Any]:
    """Return the content of a SavedModel, for reports."""
    return {"operations": operations(path)}


def archive(model) -> keras.export.ExportArchive:
    """Return a network with its signatures, ready to be written."""
    channels = model.channels
    images = (None, None, None, channels)
    # Traced once, and written once, for all signatures.
    restore = tf.function(
        restore_function(model), [tf.TensorSpec(images, tf.float32, INPUT)], autograph=False
    )

    def serve(degraded):
        return {OUTPUT: restore(degraded)}

    def serve_uint8(degraded):
        padded = _padded(tf.cast(degraded, tf.float32) / 255, model.multiple, model.min_size)
        height, width = _scaled_size(degraded, model.scale)
        return {OUTPUT: _to_uint8(restore(padded)[:, :height, :width])}

    def restore_bytes(encoded):
        # The decoder of `decode_image` takes a coarser DCT than other programs.
        picture = tf.cond(
            tf.io.is_jpeg(encoded),
            lambda: tf.image.convert_image_dtype(
                tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE"),
                tf.float32,
            ),
            lambda: tf.io.decode_image(
                encoded, channels=channels, dtype=tf.float32, expand_animations=False
            ),
        )
        picture.set_shape((None, None, channels))
        picture = upright(picture, encoded)
        padded = _padded(picture[None], model.multiple, model.min_size)
        height, width = _scaled_size(picture[None], model.scale)
        return tf.io.encode_png(_to_uint8(restore(padded)[0, :height, :width]))

    def serve_bytes(degraded_bytes):
        return {
            OUTPUT_BYTES: tf.map_fn(restore_bytes, degraded_bytes, fn_output_signature=tf.string)
        }

    made = keras.export.ExportArchive()
    made.track(model)
    made.add_endpoint("serving_default", serve, [tf.TensorSpec(images, tf.float32, INPUT)])
    made.add_endpoint("serve_uint8", serve_uint8, [tf.TensorSpec(images, tf.uint8, INPUT)])
    made.add_endpoint("serve_bytes", serve_bytes, [tf.TensorSpec((None,), tf.string, INPUT_BYTES)])
    return made


def operations(directory: str | Path) -> dict[str, int]:
    """Count the operations in a SavedModel by kind, those of all signatures together."""
    saved = saved_model_pb2.SavedModel.FromString((Path(directory) / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    return dict(collections.Counter(node.op for f in functions for node in f.node_def))


def _padded(images, multiple, min_size):
    """Reflect `(N, H, W, C)` at the bottom and right until the network takes it."""
    for axis in (1, 2):
        size = tf.shape(images)[axis]
        wanted = -(-tf.maximum(size, min_size) // multiple) * multiple
        # Back and forth between the edges: pictures may be smaller than what is missing.
        period = tf.maximum(2 * (size - 1), 1)
        place = tf.range(wanted) % period
        images = tf.gather(images, tf.minimum(place, period - place), axis=axis)
    return images


def _scaled_size(images, scale):
    size = tf.shape(images)
    return size[1] * scale, size[2] * scale


def _to_uint8(images):
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 1) * 255), tf.uint8)
