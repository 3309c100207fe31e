import flatbuffers
import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper
from tensorflow.core.protobuf import saved_model_pb2

from keras_rdanet.export.formats import tflite
from keras_rdanet.export.formats.onnx import export_onnx
from keras_rdanet.export.formats.saved_model import export_saved_model
from keras_rdanet.inference.open import open_model
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta

IMAGES = np.full((1, 8, 8, 1), 0.5, np.float32)


@pytest.fixture(scope="module")
def model():
    return registry.build("rdn_gray", num_blocks=1, filters=4, growth_rate=4)


@pytest.fixture(scope="module")
def described(model):
    return meta.describe(model)


@pytest.fixture(scope="module")
def lite(model, described, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "model.tflite"
    return tflite.export_tflite(model, path, described, size=8).read_bytes()


# --- our own files


def test_our_own_exports_open(model, described, lite, tmp_path):
    (tmp_path / "model.tflite").write_bytes(lite)
    files = [
        export_saved_model(model, tmp_path / "saved_model", described),
        export_onnx(model, tmp_path / "model.onnx", described),
        tmp_path / "model.tflite",
    ]
    expected = model.image_function()(IMAGES)
    for file in files:
        np.testing.assert_allclose(open_model(file)(IMAGES), expected, atol=1e-5)


# --- SavedModels


def saved_model(folder, described, change, **attributes):
    """A SavedModel that says it is an export of ours and applies `change`."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, "degraded")])
    def serve(degraded):
        return {"restored": change(degraded)}

    module = tf.Module()
    module.serve = serve
    for name, value in attributes.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / meta.FILE_NAME).write_text(described.to_json())
    return folder


def writes(file):
    def change(x):
        with tf.control_dependencies([tf.io.write_file(str(file), "written")]):
            return tf.identity(x)

    return change


def reads(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)


def calls_python(x):
    return tf.numpy_function(np.negative, [x], tf.float32)


def prints(x):
    tf.print(x)
    return x


def matches_files(x):
    return x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32)


@pytest.mark.parametrize(
    ("change", "operation"),
    [
        (reads, "ReadFile"),
        (calls_python, "PyFunc"),
        (matches_files, "MatchingFiles"),
        (lambda x: tf.map_fn(reads, x), "ReadFile"),
        (lambda x: tf.cond(tf.reduce_all(x > 2), lambda: reads(x), lambda: x), "ReadFile"),
        (prints, "StringFormat|PrintV2"),
    ],
)
def test_saved_models_with_other_operations_are_refused(change, operation, described, tmp_path):
    folder = saved_model(tmp_path / "model", described, change)
    with pytest.raises(ValueError, match=rf"model is not .*({operation}).*--trust-model"):
        open_model(folder)


def test_a_saved_model_that_writes_a_file_runs_only_if_it_is_trusted(described, tmp_path):
    written = tmp_path / "written"
    folder = saved_model(tmp_path / "model", described, writes(written))
    with pytest.raises(ValueError, match="the operation WriteFile") as caught:
        Restorer(folder)(IMAGES)
    assert not written.exists()
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(Restorer(folder, trust_model=True)(IMAGES), IMAGES)
    assert written.read_text() == "written"


def endless(x):
    return tf.while_loop(lambda y: tf.reduce_all(y < 9), lambda y: y * 1, [x])[0]


def long(x):
    return tf.while_loop(lambda y: True, lambda y: y + 1, [x], maximum_iterations=10**9)[0]


def nested(depth):
    def change(x):
        if depth == 0:
            return x + 1
        inner = nested(depth - 1)
        return tf.while_loop(lambda y: True, inner, [x], maximum_iterations=60_000)[0]

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [(endless, "no bound"), (long, "no bound"), (nested(3), "runs more than")],
)
def test_loops_that_need_not_end_are_refused(change, reason, described, tmp_path):
    folder = saved_model(tmp_path / "model", described, change)
    with pytest.raises(ValueError, match=reason):
        open_model(folder)


def test_loops_that_end_are_run(described, tmp_path):
    def change(x):
        return tf.while_loop(lambda y: True, lambda y: y + 1, [x], maximum_iterations=7)[0]

    np.testing.assert_array_equal(
        open_model(saved_model(tmp_path / "model", described, change))(IMAGES), IMAGES + 7
    )


def edited(folder, change):
    """Change the graph of a SavedModel."""
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(saved.meta_graphs[0])
    file.write_bytes(saved.SerializeToString())
    return folder


def body_of(graph):
    library = graph.graph_def.library.function
    return next(one for one in library if "while_body" in one.signature.name)


def stop_counting(graph):
    body = body_of(graph)
    step = next(node for node in body.node_def if node.op == "AddV2" and "counter" in node.input[0])
    constant = next(node for node in body.node_def if node.name == step.input[1].split(":")[0])
    constant.attr["value"].tensor.int_val[:] = [0]


def raise_maximum(graph):
    body = body_of(graph)
    maximum = body.signature.output_arg[1].name
    body.ret[maximum] = body.ret[body.signature.output_arg[0].name]


def call_itself(graph):
    body = body_of(graph)
    node = body.node_def.add(name="again", op="StatefulPartitionedCall")
    node.attr["f"].func.name = body.signature.name


def take_the_place(graph):
    graph.graph_def.library.function[0].attr["api_implements"].s = b"relu"


def add_asset(graph):
    graph.object_graph_def.nodes.add().asset.asset_file_def_index = 0


def be_of_version_1(graph):
    graph.ClearField("object_graph_def")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (stop_counting, "no bound"),
        (raise_maximum, "no bound"),
        (call_itself, "calls itself"),
        (take_the_place, "api_implements"),
        (add_asset, "kind asset"),
        (be_of_version_1, "no object graph"),
    ],
)
def test_graphs_that_are_made_by_hand_are_refused(change, reason, described, tmp_path):
    def count(x):
        return tf.while_loop(lambda y: True, lambda y: y + 1, [x], maximum_iterations=7)[0]

    folder = edited(saved_model(tmp_path / "model", described, count), change)
    with pytest.raises(ValueError, match=reason):
        open_model(folder)


def test_a_table_is_refused(described, tmp_path):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([1]), tf.constant([2])), -1
    )
    folder = saved_model(tmp_path / "model", described, tf.identity, table=table)
    with pytest.raises(ValueError, match="kind resource"):
        open_model(folder)


def test_a_second_graph_that_tensorflow_would_prefer_is_refused(described, tmp_path):
    folder = saved_model(tmp_path / "model", described, tf.identity)
    (folder / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"saved_model\.cpb"):
        open_model(folder)


# --- ONNX


def onnx_file(path, described, nodes, initializers=(), **others):
    shape = ("N", "H", "W", 1)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("degraded", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=9, **others)
    helper.set_model_props(proto, {meta.FILE_NAME: described.to_json()})
    path.write_bytes(proto.SerializeToString())
    return path


def loop(maximum, nodes):
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes_in"], ["goes_out"]), *nodes],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("goes_in", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x_in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_out", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, None),
        ],
    )
    return helper.make_node("Loop", [maximum, "true", "degraded"], ["restored"], body=body)


TRUE = numpy_helper.from_array(np.array(True), "true")
LAST = numpy_helper.from_array(np.array([3]), "last")
END = numpy_helper.from_array(np.array([4]), "end")
CHANNELS = [
    helper.make_node("Shape", ["degraded"], ["shape"]),
    helper.make_node("Slice", ["shape", "last", "end"], ["channels"]),
]
ADD = helper.make_node("Add", ["x_in", "x_in"], ["x_out"])


def onnx_loop(described, path):
    return onnx_file(path, described, [loop("", [ADD])], [TRUE])


def onnx_nested_loop(described, path):
    nested = loop("channels", [ADD])
    nested.output[:] = ["x_out"]
    nodes = [*CHANNELS, loop("channels", [nested])]
    return onnx_file(path, described, nodes, [TRUE, LAST, END])


def onnx_external(described, path):
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "bias")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    node = helper.make_node("Add", ["degraded", "bias"], ["restored"])
    return onnx_file(path, described, [node], [tensor])


def onnx_external_constant(described, path):
    tensor = numpy_helper.from_array(np.zeros(4, np.float32))
    tensor.external_data.add(key="location", value="/etc/passwd")
    nodes = [
        helper.make_node("Constant", [], ["bias"], value=tensor),
        helper.make_node("Add", ["degraded", "bias"], ["restored"]),
    ]
    return onnx_file(path, described, nodes)


def onnx_custom(described, path):
    node = helper.make_node("Exec", ["degraded"], ["restored"], domain="mine")
    return onnx_file(path, described, [node])


def onnx_function(described, path):
    inner = helper.make_node("Identity", ["x"], ["y"])
    function = helper.make_function(
        "mine", "Own", ["x"], ["y"], [inner], [helper.make_opsetid("", 18)]
    )
    node = helper.make_node("Own", ["degraded"], ["restored"], domain="mine")
    return onnx_file(path, described, [node], functions=[function])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (onnx_loop, "the operation Loop"),
        (onnx_nested_loop, "the operation Loop"),
        (onnx_external, "data in another file"),
        (onnx_external_constant, "data in another file"),
        (onnx_custom, r"the operation mine\.Exec"),
        (onnx_function, "functions of its own"),
    ],
)
def test_onnx_files_that_do_more_than_compute_are_refused(write, reason, described, tmp_path):
    with pytest.raises(ValueError, match=rf"model\.onnx is not .*{reason}.*--trust-model"):
        open_model(write(described, tmp_path / "model.onnx"))


def test_a_loop_over_a_size_is_run(described, tmp_path):
    nodes = [*CHANNELS, loop("channels", [ADD])]
    path = onnx_file(tmp_path / "model.onnx", described, nodes, [TRUE, LAST, END])
    np.testing.assert_array_equal(open_model(path)(IMAGES), 2 * IMAGES)


def test_a_trusted_onnx_file_opens(described, tmp_path):
    path = onnx_function(described, tmp_path / "model.onnx")
    np.testing.assert_array_equal(open_model(path, trust=True)(IMAGES), IMAGES)
    onnx.checker.check_model(onnx.load(path))


# --- TFLite


def edited_tflite(content, path, change):
    made = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    change(made)
    builder = flatbuffers.Builder(2**16)
    builder.Finish(made.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def own_operation(made):
    code = made.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"FlexWriteFile"


def branch(made):
    code = made.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF


def second_graph(made):
    made.subgraphs.append(made.subgraphs[0])


def huge_tensor(made):
    made.subgraphs[0].tensors[0].shape = np.array([1, 2**15, 2**15, 1], np.int32)


def variable(made):
    made.subgraphs[0].tensors[0].isVariable = True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (own_operation, "the operation FlexWriteFile"),
        (branch, "the operation IF"),
        (second_graph, "2 graphs"),
        (huge_tensor, r"shape \[1, 32768, 32768, 1\]"),
        (variable, "a variable"),
    ],
)
def test_tflite_files_that_do_more_than_compute_are_refused(change, reason, lite, tmp_path):
    path = edited_tflite(lite, tmp_path / "model.tflite", change)
    with pytest.raises(ValueError, match=rf"model\.tflite is not .*{reason}.*--trust-model"):
        open_model(path)
