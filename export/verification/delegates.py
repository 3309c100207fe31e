"""The operations of a TFLite file, and which delegates can run it: CPU, GPU, 8-bit accelerator.

The analyzer that comes with TensorFlow calls every file fit for GPUs. The lists
here therefore name the operations that LiteRT implements on GPUs, and those that
accelerators for 8-bit integers commonly take.
"""

import collections
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

_ELEMENTWISE = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "LOGISTIC", "TANH", "RELU"}
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}
_SHAPES = {"CONCATENATION", "PAD", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE", "SPLIT"}
_REDUCTIONS = {"MEAN", "REDUCE_MAX", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
_RESIZING = {"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}
_COMMON = _ELEMENTWISE | _CONVOLUTIONS | _SHAPES | _REDUCTIONS | _RESIZING

ALLOWED = {
    "gpu": _COMMON
    | {"SUM", "PRELU", "LEAKY_RELU", "SOFTMAX", "EXP", "SQRT", "RSQRT", "POW", "SQUARE", "NEG"}
    | {"SQUARED_DIFFERENCE", "MIRROR_PAD", "BATCH_MATMUL", "DEQUANTIZE", "QUANTIZE", "CAST"},
    "npu-int8": _COMMON | {"QUANTIZE", "SOFTMAX", "PRELU", "LEAKY_RELU"},
}
TARGETS = ("cpu", *ALLOWED)

MAX_RANK = 4

# Values of a sum over so many positions pass the largest float16, 65504, once
# their mean passes 4: what global means of TensorFlow become.
FLOAT16_SUMMANDS = 2**14

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}


def operations(path: str | Path) -> dict[str, int]:
    """Count the operations of a `.tflite` file by kind.

    Raises:
        OSError: if the file cannot be read.
    """
    return dict(collections.Counter(_kinds(flatbuffer.read_model(str(path)))).most_common())


def delegate_support(path: str | Path) -> dict[str, list[str]]:
    """List the operations, shapes and types in a file that the delegates of LiteRT do not support.

    Args:
        path: A `.tflite` file.

    Returns:
        For each of `TARGETS` a list of lines; it is empty if the target
        supports the whole file.

    Raises:
        OSError: if the file cannot be read.
    """
    model = flatbuffer.read_model(str(path))
    graph = model.subgraphs[0]
    kinds = _kinds(model)
    counts = collections.Counter(kinds)
    common = _custom(counts) + _batched(counts) + _subgraphs(model)
    fixed = _free_shapes(graph) + _ranks(graph)
    return {
        "cpu": common,
        "gpu": common
        + _unknown(counts, "gpu")
        + fixed
        + _overflowing(graph, kinds)
        + _sixteen_bits(graph),
        "npu-int8": common + _unknown(counts, "npu-int8") + fixed + _floats(graph, kinds),
    }


def _kinds(model) -> list[str]:
    """The kind of every operation, in order."""
    return [_kind(model.operatorCodes[one.opcodeIndex]) for one in model.subgraphs[0].operators]


def _kind(code) -> str:
    name = _NAMES[flatbuffer.get_builtin_code_from_operator_code(code)]
    return code.customCode.decode() if name == "CUSTOM" else name


def _custom(counts):
    """Operations that LiteRT alone cannot run: `Flex...` needs TensorFlow."""
    return [f"{count} {kind}, not built in" for kind, count in counts.items() if not kind.isupper()]


def _batched(counts):
    """Dilated convolutions that were not traced as one operation."""
    kinds = ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
    return [f"{counts[kind]} {kind}, from dilated convolutions" for kind in kinds if counts[kind]]


def _subgraphs(model):
    number = len(model.subgraphs)
    return [f"{number} subgraphs, from control flow"] if number > 1 else []


def _unknown(counts, target):
    return [
        f"{count} {kind}, not supported"
        for kind, count in counts.items()
        if kind.isupper() and kind not in ALLOWED[target]
    ]


def _free_shapes(graph):
    free = sum(
        tensor.shapeSignature is not None and -1 in tensor.shapeSignature
        for tensor in graph.tensors
    )
    return [f"{free} tensors of free size"] if free else []


def _ranks(graph):
    made = [graph.tensors[i] for one in graph.operators for i in one.outputs]
    large = sum(tensor.shape is not None and len(tensor.shape) > MAX_RANK for tensor in made)
    return [f"{large} tensors with more than {MAX_RANK} axes"] if large else []


def _floats(graph, kinds):
    """Operations that compute in floats."""
    computed = collections.Counter(
        kind
        for kind, one in zip(kinds, graph.operators, strict=True)
        if any(graph.tensors[i].type == schema.TensorType.FLOAT32 for i in one.outputs)
    )
    return [f"{count} {kind} in float" for kind, count in computed.items()]


def _overflowing(graph, kinds):
    """Sums that pass the largest float16, in which GPUs compute by default."""
    found = []
    for kind, one in zip(kinds, graph.operators, strict=True):
        source, made = graph.tensors[one.inputs[0]], graph.tensors[one.outputs[0]]
        if kind == "SUM" and source.type == schema.TensorType.FLOAT32:
            summands = _size(source) // max(_size(made), 1)
            if summands >= FLOAT16_SUMMANDS:
                found.append(f"{made.name.decode()} adds {summands} values, beyond float16")
    return found


def _sixteen_bits(graph):
    """Integers of 16 bits, which GPUs do not take."""
    number = sum(tensor.type == schema.TensorType.INT16 for tensor in graph.tensors)
    return [f"{number} tensors of int16"] if number else []


def _size(tensor) -> int:
    size = 1
    for side in tensor.shape if tensor.shape is not None else ():
        size *= int(side)
    return size
