"""A network as an ONNX file, for ONNX Runtime, TensorRT and whatever else reads it."""

import collections
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from keras_rdanet.export.graph import INPUT, OUTPUT, restore_function
from keras_rdanet.export.job import ExportJob
from keras_rdanet.export.quantization.onnx import quantized
from keras_rdanet.files import replacing
from keras_rdanet.runtimes import metadata as meta

OPSET = 18


def write(job: ExportJob, path: Path, variant: str) -> None:
    """Write a variant of the network of a job; int8 is made from the float32 file beside it."""
    if variant == "fp32":
        export_onnx(job.model, path, job.metadata)
        return
    source = path.with_name(path.name.replace(variant, "fp32"))
    if not source.exists():
        write(job, source, "fp32")
    tiles = () if job.calibration is None else job.calibration.degraded
    export_qdq(source, path, (tile[np.newaxis] for tile in tiles))


def inspect(path: Path) -> dict[str, Any]:
    """Return the content of an ONNX file, for reports."""
    kinds = (node.op_type for node in onnx.load(path).graph.node)
    return {"operations": dict(collections.Counter(kinds))}


def export_onnx(model, path: str | Path, metadata: meta.ExportMetadata, *, opset=OPSET) -> Path:
    """Write a network as an ONNX file; batch, height and width stay free.

    Its input is called `degraded`, `(N, H, W, C)` float32 in `[0, 1]`, its
    output `restored`, `(N, scale * H, scale * W, C)` float32, not clipped.
    The file passes the full check of `onnx.checker`.

    Args:
        model: A `RestorationModel` in float32.
        path: The file to write, `.onnx`.
        metadata: Metadata of the file, for `open_model`.
        opset: Version of the operators of ONNX.

    Returns:
        The path.

    Raises:
        ValueError: if the network cannot be traced or converted.
        OSError: if the file cannot be written.
    """
    proto = _convert(model, opset)
    for node in proto.graph.node:
        if node.op_type == "Conv":
            _join_biases(node, proto.graph)
            _pad_explicitly(node)
    _name_sizes(proto.graph, model.scale)
    onnx.helper.set_model_props(proto, {meta.FILE_NAME: metadata.to_json()})
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        onnx.save(proto, temporary)
    return Path(path)


def export_qdq(
    source: str | Path,
    path: str | Path,
    calibration: Iterable[np.ndarray],
    *,
    symmetric: bool = False,
) -> Path:
    """Write a file of `export_onnx` again with convolutions in int8, see `quantized`.

    Args:
        source: The float32 file.
        path: The file to write, `.onnx`.
        calibration: Degraded tiles `(N, H, W, C)`, float32 in `[0, 1]`, on
            which the ranges are measured.
        symmetric: Whether activations are int8 around zero, which TensorRT
            asks for, instead of uint8.

    Returns:
        The path.

    Raises:
        ValueError: if there is no calibration data.
        OSError: if a file cannot be read or written.
    """
    proto = onnx.load(source)
    made = quantized(proto, calibration, symmetric=symmetric)
    metadata = replace(read_metadata(proto), variant="int8")
    onnx.helper.set_model_props(made, {meta.FILE_NAME: metadata.to_json()})
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        onnx.save(made, temporary)
    return Path(path)


def read_metadata(proto: onnx.ModelProto) -> meta.ExportMetadata:
    """The metadata of an ONNX file.

    Raises:
        ValueError: if keras-rdanet did not write it.
    """
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    return meta.from_json(texts.get(meta.FILE_NAME, ""))


def _convert(model, opset):
    import tf2onnx

    restore = restore_function(model)
    signature = [tf.TensorSpec((None, None, None, model.channels), tf.float32, INPUT)]
    function = tf.function(lambda degraded: {OUTPUT: restore(degraded)}, signature, autograph=False)
    traced = function.get_concrete_function()
    # Transposed here and not by tf2onnx: where pictures are gray its optimizer makes reshapes of
    # transposes at the ends, one of which now and then gives an output with an axis too many.
    proto, _ = tf2onnx.convert.from_function(
        function,
        signature,
        opset=opset,
        inputs_as_nchw=[traced.inputs[0].name],
        outputs_as_nchw=[traced.outputs[0].name],
    )
    _transpose_ends(proto.graph)
    return proto


def _transpose_ends(graph):
    """Give a graph from NCHW to NCHW an input and an output in NHWC."""
    first, last = f"{INPUT}/NCHW", f"{OUTPUT}/NCHW"
    for node in graph.node:
        node.input[:] = [first if name == INPUT else name for name in node.input]
        node.output[:] = [last if name == OUTPUT else name for name in node.output]
    transpose = partial(onnx.helper.make_node, "Transpose")
    graph.node.insert(0, transpose([INPUT], [first], name=first, perm=(0, 3, 1, 2)))
    graph.node.append(transpose([last], [OUTPUT], name=last, perm=(0, 2, 3, 1)))
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        sizes.append(sizes.pop(1))


def _join_biases(node, graph):
    """Add up the two biases that tf2onnx gives a convolution followed by an addition.

    A convolution has one bias; the fourth input makes an invalid file.
    """
    if len(node.input) < 4:
        return
    values = {tensor.name: tensor for tensor in graph.initializer}
    biases = [onnx.numpy_helper.to_array(values[name]) for name in node.input[2:]]
    name = f"{node.name}/bias"
    graph.initializer.append(onnx.numpy_helper.from_array(np.sum(biases, axis=0), name))
    node.input[2:] = [name]
    used = {name for other in graph.node for name in other.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _pad_explicitly(node):
    """Write "same" padding out as numbers, where they do not depend on the size.

    ONNX Runtime computes no dilated convolution otherwise.
    """
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    kernel = attributes["kernel_shape"]
    if attributes.get("auto_pad") != b"SAME_UPPER" or set(attributes.get("strides", [1])) != {1}:
        return
    totals = [
        rate * (side - 1)
        for rate, side in zip(attributes.get("dilations", [1, 1]), kernel, strict=True)
    ]
    pads = [total // 2 for total in totals] + [total - total // 2 for total in totals]
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])


def _name_sizes(graph, scale):
    """Call the free sizes N, H and W; those of an enlarged output 2H and 2W, say."""
    factor = "" if scale == 1 else str(scale)
    for value, names in (
        (graph.input[0], ("N", "H", "W")),
        (graph.output[0], ("N", f"{factor}H", f"{factor}W")),
    ):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = name
