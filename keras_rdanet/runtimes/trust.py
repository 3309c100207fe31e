"""What an exported file may do when it runs, read from its graph before anything loads it.

A SavedModel, an ONNX or a TFLite file is a program. The ones that keras-rdanet writes compute;
others can read and write files or never end. Whatever is not on the lists here is refused.
"""

import re
from collections.abc import Iterator
from itertools import chain
from math import prod
from pathlib import Path
from typing import NoReturn

from keras_rdanet.files import read_bytes, reading

# Loops of an export count to a number such as 256, or to the number of pictures.
MAX_ITERATIONS = 2**16
# Stands for the number of pictures where the steps of nested loops are multiplied.
ASSUMED_PICTURES = 2**10
# Operations that one call runs, loops and repeated functions unrolled; ours run some 10**7.
MAX_STEPS = 2**32
# Numbers in one tensor of a TFLite file, whose shapes are fixed.
MAX_NUMBERS = 2**28

OBJECT_KINDS = {
    "user_object",
    "variable",
    "function",
    "bare_concrete_function",
    "captured_tensor",
    "constant",
}
LOOPS = {"While", "StatelessWhile"}
CALLS = {"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf"}

_SAVED_MODEL = """
Abs Add AddN AddV2 All Any ArgMax ArgMin Assert AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3
BatchToSpaceND BiasAdd BroadcastArgs BroadcastGradientArgs BroadcastTo Cast Ceil ClipByValue
Complex ComplexAbs Concat ConcatV2 Const Conv2D Conv2DBackpropInput Cos Cumprod Cumsum
DecodeImage DecodeJpeg DecodePng DecodeRaw DepthToSpace DepthwiseConv2dNative Div DivNoNan
Einsum Elu EncodeJpeg EncodePng EnsureShape Equal Erf Exp ExpandDims Expm1 ExtractImagePatches
FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars Fill Floor FloorDiv FloorMod FusedBatchNormV3
Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN Inv InvertPermutation IsFinite
IsInf IsNan L2Loss LeakyRelu Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot
LogicalOr MatMul Max MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul MulNoNan Neg NoOp
NotEqual OneHot OnesLike Pack Pad PadV2 Pow PreventGradient Prod Range Rank ReadVariableOp
RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear
ResizeNearestNeighbor Reverse ReverseV2 Rint Roll Round Rsqrt ScatterNd Select SelectV2 Selu
Shape ShapeN Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth
Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Substr Sum Tan
Tanh
TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListSetItem
TensorListStack TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv
TruncateMod Unpack Where Xdivy ZerosLike
"""
SAVED_MODEL_OPERATIONS = frozenset(_SAVED_MODEL.split())
_ONNX = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat
Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DeformConv DepthToSpace
DequantizeLinear Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul
MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow
QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements
ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split
Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
ONNX_OPERATIONS = frozenset(_ONNX.split())
_TFLITE = """
ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE
DEQUANTIZE DILATE DIV ELU EQUAL EXP EXPAND_DIMS FAKE_QUANT FILL FLOOR FLOOR_DIV FLOOR_MOD
FULLY_CONNECTED GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION
L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC
LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2
POW PRELU QUANTIZE RANGE RANK REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT
SCATTER_ND SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT
SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE
TRANSPOSE_CONV UNPACK WHERE ZEROS_LIKE
"""
TFLITE_OPERATIONS = frozenset(_TFLITE.split())

# Functions of every SavedModel that write and read its variables; loading runs neither.
_SAVER = re.compile(r"__inference__traced_(save|restore)_\d+")


def check_saved_model(path: Path) -> None:
    """Refuse a SavedModel that can do more than compute.

    Args:
        path: The folder.

    Raises:
        ValueError: if it holds an operation that is not in `SAVED_MODEL_OPERATIONS`, a table or
            another resource, a file to be read, a loop that need not end, or is damaged.
        OSError: if it cannot be read.
        ImportError: if TensorFlow is not installed.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    if (path / "saved_model.cpb").exists():  # TensorFlow would take it for the graph
        _refuse(path, "a graph in pieces (saved_model.cpb)")
    with reading(path, "a SavedModel"):
        saved = saved_model_pb2.SavedModel.FromString(read_bytes(path / "saved_model.pb"))
        if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
            _refuse(path, "no object graph, as in SavedModels of TensorFlow 1")
        graph = saved.meta_graphs[0]
        for node in graph.object_graph_def.nodes:
            kind = node.WhichOneof("kind")
            if kind not in OBJECT_KINDS or node.saveable_objects or node.registered_saver:
                _refuse(path, f"an object of the kind {kind} or with a saver of its own")
        _Functions(graph, path).check()


class _Functions:
    """The functions of a SavedModel, and how many operations a call of one runs."""

    def __init__(self, graph, path: Path):
        library = graph.graph_def.library.function
        self.path = path
        self.functions = {function.signature.name: function for function in library}
        self.steps: dict[str, int | None] = {}
        if len(self.functions) != len(library):
            _refuse(path, "two functions of one name")
        if any("api_implements" in function.attr for function in library):
            _refuse(path, "a function that takes the place of another one (api_implements)")
        savers = {name for name in self.functions if _SAVER.fullmatch(name)}
        called = set(graph.object_graph_def.concrete_functions)
        self.roots = (self.functions.keys() - savers) | called

    def check(self) -> None:
        """Look at every function that can run."""
        for name in sorted(self.roots):
            if self._count(name) > MAX_STEPS:
                _refuse(self.path, f"a function that runs more than {MAX_STEPS} operations")

    def _count(self, name: str) -> int:
        """How many operations a call of a function runs."""
        if name not in self.functions:
            raise ValueError(f"there is no function {name}")
        if name not in self.steps:
            self.steps[name] = None
            self.steps[name] = sum(self._steps(node, name) for node in self._nodes(name).values())
        steps = self.steps[name]
        if steps is None:
            _refuse(self.path, "a function that calls itself")
        return steps

    def _steps(self, node, function: str) -> int:
        called = [node.op] if node.op in self.functions else []
        for value in node.attr.values():
            if value.HasField("func"):
                called.append(value.func.name)
            called += [one.name for one in value.list.func]
        if not called and node.op not in SAVED_MODEL_OPERATIONS:
            _refuse(self.path, f"the operation {node.op}")
        if called and node.op not in {*self.functions, *CALLS, *LOOPS}:
            _refuse(self.path, f"the operation {node.op}, which calls functions,")
        times = self._iterations(node, function) if node.op in LOOPS else 1
        return times * (1 + sum(self._count(name) for name in called))

    def _iterations(self, loop, function: str) -> int:
        """How often a loop runs at most; it must count as `tf.while_loop` with a maximum does."""
        counter, maximum = loop.input[:2]
        nodes = self._nodes(function)
        limit = ASSUMED_PICTURES if _is_of_shape(nodes, maximum) else _constant(nodes, maximum)
        if (
            limit is None
            or limit > MAX_ITERATIONS
            or _constant(nodes, counter) != 0
            or not self._ends_at_maximum(loop.attr["cond"].func.name)
            or not self._counts(loop.attr["body"].func.name)
        ):
            _refuse(self.path, f"a loop ({loop.op}) whose number of steps has no bound")
        return max(limit, 1)

    def _ends_at_maximum(self, name: str) -> bool:
        """Whether a condition holds only while the counter is less than the maximum."""
        nodes = self._nodes(name)
        counter, maximum = self._arguments(name)[:2]

        def less(reference: str) -> bool:
            node = _source(nodes, reference)
            if node is None:
                return False
            if node.op == "LogicalAnd":
                return any(map(less, node.input[:2]))
            return node.op == "Less" and list(node.input[:2]) == [counter, maximum]

        return less(self._results(name)[0])

    def _counts(self, name: str) -> bool:
        """Whether a body adds 1 to the counter and leaves the maximum as it is."""
        nodes = self._nodes(name)
        counter, maximum = self._arguments(name)[:2]
        following, kept = (_origin(nodes, result) for result in self._results(name)[:2])
        added = nodes.get(following.partition(":")[0])
        return (
            kept == maximum
            and added is not None
            and added.op in ("Add", "AddV2")
            and added.input[0] == counter
            and _constant(nodes, added.input[1]) == 1
        )

    def _nodes(self, name: str) -> dict:
        return {node.name: node for node in self.functions[name].node_def}

    def _arguments(self, name: str) -> list[str]:
        return [argument.name for argument in self.functions[name].signature.input_arg]

    def _results(self, name: str) -> list[str]:
        function = self.functions[name]
        return [function.ret[result.name] for result in function.signature.output_arg]


def _origin(nodes, reference: str) -> str:
    """Where a value comes from that is passed on unchanged: an argument, or an output of a node."""
    while ":" in reference and (node := nodes[reference.partition(":")[0]]).op == "Identity":
        reference = node.input[0]
    return reference


def _source(nodes, reference: str):
    """The node that a value comes from; `None` for an argument."""
    reference = _origin(nodes, reference)
    return nodes[reference.partition(":")[0]] if ":" in reference else None


def _constant(nodes, reference: str) -> int | None:
    """The value of a scalar constant; `None` for anything else."""
    from tensorflow.core.framework import types_pb2

    node = _source(nodes, reference)
    if node is None or node.op != "Const":
        return None
    tensor = node.attr["value"].tensor
    fields = {types_pb2.DT_INT32: tensor.int_val, types_pb2.DT_INT64: tensor.int64_val}
    values = fields.get(tensor.dtype, ())
    scalar = not tensor.tensor_shape.dim and not tensor.tensor_content
    return values[0] if scalar and len(values) == 1 else None


def _is_of_shape(nodes, reference: str) -> bool:
    """Whether a value is a size of a tensor."""
    node = _source(nodes, reference)
    while node is not None and node.op == "StridedSlice":
        node = _source(nodes, node.input[0])
    return node is not None and node.op == "Shape"


def check_onnx(content: bytes, path: Path) -> None:
    """Refuse an ONNX file that can do more than compute.

    Args:
        content: Content of the file.
        path: Where it is from.

    Raises:
        ValueError: if it holds an operation that is not in `ONNX_OPERATIONS`, functions of its
            own or data in another file, or is damaged.
        ImportError: if the package onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} is looked through before it runs, with the package onnx; "
            "pip install 'keras-rdanet[export]' or onnx, or trust it with --trust-model."
        ) from error
    with reading(path, "an ONNX file"):
        model = onnx.ModelProto.FromString(content)
        if model.functions or model.training_info:
            _refuse(path, "functions of its own")
        _check_onnx_graph(model.graph, path)


def _check_onnx_graph(graph, path: Path, *, of_loop: bool = False) -> None:
    for node in graph.node:
        inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        if node.domain not in ("", "ai.onnx"):
            _refuse(path, f"the operation {node.domain}.{node.op_type}")
        if node.op_type == "Loop" and not of_loop and _onnx_loop_ends(node, graph):
            for body in inner:
                _check_onnx_graph(body, path, of_loop=True)
        elif node.op_type not in ONNX_OPERATIONS or inner:
            _refuse(path, f"the operation {node.op_type}")
    for tensor in _onnx_tensors(graph):
        if tensor.data_location or tensor.external_data:
            _refuse(path, f"data in another file ({tensor.name})")


def _onnx_loop_ends(loop, graph) -> bool:
    """Whether a loop runs at most as often as a size of a tensor says."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(loop.input[0])
    for _ in range(len(graph.node)):  # a damaged graph may lead in a circle
        if node is None or node.op_type not in ("Cast", "Identity", "Slice", "Squeeze"):
            break
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Shape"


def _onnx_tensors(graph) -> Iterator:
    """All tensors with values in a graph, without those of graphs inside."""
    yield from graph.initializer
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    sparse = chain(graph.sparse_initializer, *(one.sparse_tensors for one in attributes))
    for attribute in attributes:
        yield attribute.t
        yield from attribute.tensors
        sparse = chain(sparse, [attribute.sparse_tensor])
    for one in sparse:
        yield from (one.values, one.indices)


def check_tflite(content: bytes, path: Path) -> None:
    """Refuse a TFLite file that can do more than compute.

    Args:
        content: Content of the file.
        path: Where it is from.

    Raises:
        ValueError: if it holds an operation that is not in `TFLITE_OPERATIONS`, several graphs,
            variables, data in another file, a tensor beyond `MAX_NUMBERS`, or is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    with reading(path, "a TFLite file"):
        model = schema.Model.GetRootAs(content)
        for index in range(model.OperatorCodesLength()):
            code = model.OperatorCodes(index)
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = names.get(number, f"number {number}")
            if name not in TFLITE_OPERATIONS:
                own = code.CustomCode()
                _refuse(path, f"the operation {own.decode(errors='replace') if own else name}")
        if model.SubgraphsLength() != 1:
            _refuse(path, f"{model.SubgraphsLength()} graphs instead of one")
        if model.ExternalBuffersLength() or model.ExternalBufferGroupsLength():
            _refuse(path, "data in another file")
        graph = model.Subgraphs(0)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            sizes = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
            if min(sizes, default=0) < 0 or prod(sizes) > MAX_NUMBERS:
                _refuse(path, f"a tensor of the shape {sizes}")
            if tensor.IsVariable():
                _refuse(path, "a variable")


def _refuse(path: Path, what: str) -> NoReturn:
    raise ValueError(
        f"{path} is not opened, because it holds {what} that no export of keras-rdanet has; "
        "if you trust who made it, open it with --trust-model (`trust_model=True`)."
    )
