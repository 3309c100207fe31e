"""A network as an ONNX file, for ONNX Runtime, TensorRT and whatever else reads it."""

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf

from keras_rdanet.export import metadata as meta
from keras_rdanet.export.graph import INPUT, OUTPUT, restore_function
from keras_rdanet.files import replacing

OPSET = 18
# What int8 is worth doing in: the rest is cheap and loses precision.
QUANTIZED = ("Conv", "ConvTranspose", "Concat", "Relu")


def export_onnx(model, path: str | Path, metadata: meta.ExportMetadata, *, opset=OPSET) -> Path:
    """Write a network as an ONNX file; batch, height and width stay free.

    Its input is called `degraded`, `(N, H, W, C)` float32 in `[0, 1]`, its
    output `restored`, `(N, scale * H, scale * W, C)` float32, not clipped.
    The file passes the full check of `onnx.checker`.

    Args:
        model: A `RestorationModel` in float32.
        path: The file to write, `.onnx`.
        metadata: Goes into the file, for `open_model`.
        opset: Version of ONNX's operators.

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
    """Write a file of `export_onnx` again with convolutions in int8 (QDQ).

    Weights are int8 for each channel. Activations are uint8, which CPUs
    compute three times as fast as int8.

    Args:
        source: The float32 file.
        path: The file to write, `.onnx`.
        calibration: Degraded tiles `(N, H, W, C)`, float32 in `[0, 1]`, that
            the ranges are measured on.
        symmetric: Make activations int8 around zero: what TensorRT takes.

    Returns:
        The path.

    Raises:
        ValueError: if there is no calibration data.
        OSError: if a file cannot be read or written.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    tiles = iter(calibration)
    first = next(tiles, None)
    if first is None:
        raise ValueError("`calibration` holds no tiles; int8 is scaled by what they contain.")

    remaining = chain([first], tiles)

    class Tiles(CalibrationDataReader):
        def get_next(self):
            tile = next(remaining, None)
            return None if tile is None else {INPUT: np.asarray(tile, np.float32)}

    with replacing(path) as temporary, _without_advice():
        quantize_static(
            source,
            temporary,
            Tiles(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": symmetric},
        )
        proto = onnx.load(temporary)
        _set_variant(proto, "int8")
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, temporary)
    return Path(path)


def read_metadata(proto: onnx.ModelProto) -> meta.ExportMetadata:
    """What an ONNX file says about itself.

    Raises:
        ValueError: if keras-rdanet did not write it.
    """
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    return meta.from_json(texts.get(meta.FILE_NAME, ""))


@contextlib.contextmanager
def _without_advice():
    """Keep ONNX Runtime from advising to optimise the file first, which changes nothing here."""

    def is_other(record):
        return "pre-processing" not in record.getMessage()

    logging.getLogger().addFilter(is_other)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(is_other)


def _set_variant(proto, variant):
    metadata = replace(read_metadata(proto), variant=variant)
    onnx.helper.set_model_props(proto, {meta.FILE_NAME: metadata.to_json()})


def _convert(model, opset):
    import tf2onnx

    restore = restore_function(model)
    signature = [tf.TensorSpec((None, None, None, model.channels), tf.float32, INPUT)]
    function = tf.function(lambda degraded: {OUTPUT: restore(degraded)}, signature, autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, signature, opset=opset)
    return proto


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
