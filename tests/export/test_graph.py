import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.export import graph
from keras_rdanet.models import registry


@pytest.fixture(scope="module")
def model():
    return registry.build("tsp_rdanet_tiny_gray", filters=8)


def traced(model, shape=(None, None, None, 1)):
    """A network traced as exporters do, with its input and its output named."""
    specification = tf.TensorSpec(shape, tf.float32, graph.INPUT)
    restore = graph.restore_function(model)
    function = tf.function(lambda degraded: {graph.OUTPUT: restore(degraded)}, autograph=False)
    return function.get_concrete_function(specification)


def test_the_graph_computes_what_the_network_computes_for_any_size(model):
    function = traced(model)
    for shape in [(1, 12, 9, 1), (2, 7, 16, 1)]:
        degraded = np.random.default_rng(0).random(shape, np.float32)
        restored = function(tf.constant(degraded))[graph.OUTPUT].numpy()
        expected = model.image_function()(degraded)
        np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5)
        assert np.abs(restored - degraded).max() > 1e-3


def test_names_and_shapes_are_those_that_runtimes_see(model):
    function = traced(model, (1, 16, None, 1))
    (degraded,), keywords = function.structured_input_signature
    assert (degraded.name, keywords) == ("degraded", {})
    assert degraded.shape.as_list() == [1, 16, None, 1]
    assert list(function.structured_outputs) == ["restored"]


def test_every_dilated_convolution_is_one_operation(model):
    operations = traced(model).graph.get_operations()
    kinds = [operation.type for operation in operations]
    assert not {"SpaceToBatchND", "BatchToSpaceND", "FloorDiv"} & set(kinds)
    dilated = [o for o in operations if o.type == "Conv2D" and max(o.get_attr("dilations")) > 1]
    assert len(dilated) == 25  # five of eight convolutions, in five positions of one block


def test_only_float32_is_traced():
    with pytest.raises(ValueError, match="computes in mixed_bfloat16"):
        graph.restore_function(
            registry.build("tsp_rdanet_tiny_gray", precision="bfloat16", filters=8)
        )
