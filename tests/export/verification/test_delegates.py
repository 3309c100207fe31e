import keras
import pytest
import tensorflow as tf

from keras_rdanet.export.verification.delegates import TARGETS, delegate_support, operations
from keras_rdanet.layers.native import native_forms

GRAY = (1, 8, 8, 1)


@pytest.fixture
def inspected(tmp_path):
    """Convert a function of one float image; the operations of the file and what it lacks where."""

    def convert(function, shape=GRAY, **options):
        specification = tf.TensorSpec(shape, tf.float32)
        traced = tf.function(function, autograph=False).get_concrete_function(specification)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
        for name, value in options.items():
            setattr(converter, name, value)
        path = tmp_path / "x.tflite"
        path.write_bytes(converter.convert())
        return {"operations": operations(path), **delegate_support(path)}

    return convert


def test_plain_operations_suit_cpu_and_gpu_and_are_float_for_an_npu(inspected):
    found = inspected(lambda x: tf.concat([x, tf.sigmoid(x)], axis=-1))
    assert found["operations"] == {"LOGISTIC": 1, "CONCATENATION": 1}
    assert found["cpu"] == found["gpu"] == []
    assert found["npu-int8"] == ["1 LOGISTIC in float", "1 CONCATENATION in float"]


def test_dilated_convolutions_in_pieces_are_found_everywhere(inspected):
    layer = keras.layers.Conv2D(1, 3, dilation_rate=2, padding="same")
    layer.build((None, None, None, 1))
    kernel = tf.constant(layer.kernel.numpy())
    pieces = inspected(lambda x: layer.convolution_op(x, kernel), (1, None, None, 1))
    for target in TARGETS:
        assert "1 SPACE_TO_BATCH_ND, from dilated convolutions" in pieces[target]
        assert "1 BATCH_TO_SPACE_ND, from dilated convolutions" in pieces[target]
    with native_forms():
        whole = inspected(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME", dilations=2))
    assert whole["operations"] == {"CONV_2D": 1}
    assert whole["cpu"] == []


def test_free_sizes_are_for_the_cpu_alone(inspected):
    found = inspected(tf.sigmoid, (1, None, None, 1))
    assert found["cpu"] == []
    assert found["gpu"] == ["2 tensors of free size"]
    assert "2 tensors of free size" in found["npu-int8"]


def test_many_axes_are_found(inspected):
    found = inspected(
        lambda x: tf.reshape(tf.transpose(tf.reshape(x, (1, 4, 2, 8, 1)), (0, 3, 2, 1, 4)), GRAY)
    )
    assert found["cpu"] == []
    assert any("more than 4 axes" in line for line in found["gpu"])


@pytest.mark.parametrize(("side", "lines"), [(64, 0), (128, 1)])
def test_sums_beyond_float16_are_found(inspected, side, lines):
    found = inspected(lambda x: tf.reduce_sum(x, axis=(1, 2)), (1, side, side, 1))
    assert sum("beyond float16" in line for line in found["gpu"]) == lines
    mean = inspected(lambda x: tf.reduce_mean(x, axis=(1, 2)), (1, side, side, 1))
    assert mean["gpu"] == []


def test_operations_of_tensorflow_and_unknown_ones_are_found(inspected):
    options = tf.lite.TargetSpec(
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    )
    found = inspected(tf.linalg.det, (1, 4, 4), target_spec=options)
    assert found["operations"] == {"FlexMatrixDeterminant": 1}
    for target in TARGETS:
        assert "1 FlexMatrixDeterminant, not built in" in found[target]
    assert "1 TOPK_V2, not supported" in inspected(lambda x: tf.math.top_k(x)[0])["gpu"]
