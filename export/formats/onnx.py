"""A network as an ONNX file, for ONNX Runtime, TensorRT and whatever else reads it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf

from keras_rdanet.export.graph import INPUT, OUTPUT, restore_function
from keras_rdanet.files import replacing
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.onnx import open_session

OPSET = 18
# What int8 is worth doing in: the rest is cheap and loses precision.
QUANTIZED = ("Conv", "ConvTranspose", "Concat", "Relu")

# Share of the calibration tiles whose extremes eight bits represent. On crops of Kodak the
# camera noise weights lose 0.44 dB with all of them, 0.13 dB with this share, 0.21 dB with 0.9
# and 0.07 dB with 0.8; but with 0.8 the tiny RGB weights move flat green by 2.05 gray levels.
COVERAGE = 0.95


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
    compute three times as fast as int8. The convolutions that see the picture
    and those that make it stay in float32: they cost nothing measurable, and
    a third of what int8 loses (the tiny RGB weights 0.074 instead of 0.116 dB) is theirs.

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
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorsData

    proto = onnx.load(source)
    quantizer = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, _ranges(proto, calibration)),
        nodes_to_quantize=[],
        nodes_to_exclude=_ends(proto.graph),
        op_types_to_quantize=list(QUANTIZED),
        extra_options={"ActivationSymmetric": symmetric},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made = quantizer.model.model
    metadata = replace(read_metadata(proto), variant="int8")
    onnx.helper.set_model_props(made, {meta.FILE_NAME: metadata.to_json()})
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        onnx.save(made, temporary)
    return Path(path)


def read_metadata(proto: onnx.ModelProto) -> meta.ExportMetadata:
    """What an ONNX file says about itself.

    Raises:
        ValueError: if keras-rdanet did not write it.
    """
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    return meta.from_json(texts.get(meta.FILE_NAME, ""))


def _ranges(proto, calibration):
    """The smallest and largest value of each tensor that may be quantized, in most tiles."""
    watched = onnx.shape_inference.infer_shapes(proto)
    names = _activations(watched)
    outputs = []
    for name in names:
        for kind in ("ReduceMin", "ReduceMax"):
            outputs.append(f"{name}:{kind}")
            node = onnx.helper.make_node(kind, [name], outputs[-1:], keepdims=0)
            watched.graph.node.append(node)
    del watched.graph.output[:]
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ()) for name in outputs
    )
    session = open_session(watched.SerializeToString())
    found = [session.run(outputs, {INPUT: np.asarray(tile, np.float32)}) for tile in calibration]
    if not found:
        raise ValueError("`calibration` holds no tiles; int8 is scaled by what they contain.")
    low = np.quantile(found, 1 - COVERAGE, axis=0)[0::2]
    high = np.quantile(found, COVERAGE, axis=0)[1::2]
    return {
        name: tuple(np.float32([end]) for end in ends)
        for name, *ends in zip(names, low, high, strict=True)
    }


def _activations(proto):
    """The float tensors that operations in `QUANTIZED` take or give."""
    graph = proto.graph
    values = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
    touched = {
        name
        for node in graph.node
        if node.op_type in QUANTIZED
        for name in (*node.input, *node.output)
    }
    return [
        name
        for name in sorted(touched & values.keys())
        if values[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]


def _ends(graph):
    """The names of the convolutions that see the input, and of those that make the output."""
    makers = {name: node for node in graph.node for name in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    forward = _first_convolutions(INPUT, lambda name: readers.get(name, []), "output")
    backward = _first_convolutions(
        OUTPUT, lambda name: [makers[name]] if name in makers else [], "input"
    )
    return sorted(forward | backward)


def _first_convolutions(start, neighbours, side):
    """Those that are met first on every way from a tensor."""
    found, seen, ahead = set(), set(), [start]
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in neighbours(name):
            if node.op_type in ("Conv", "ConvTranspose"):
                found.add(node.name)
            else:
                ahead.extend(getattr(node, side))
    return found


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
