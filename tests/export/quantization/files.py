"""Small TFLite files for the tests of this folder."""

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as flatbuffer

SIDE = 16


def converted(function):
    """A TFLite file in float32 of a function without variables."""
    concrete = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


def run(content, images):
    interpreter = Interpreter(model_content=content)
    function = interpreter.get_signature_runner()
    return np.concatenate([function(degraded=image[None])["restored"] for image in images])


def operations(content):
    model = flatbuffer.read_model_from_bytearray(bytearray(content))
    names = {v: k for k, v in vars(flatbuffer.BuiltinOperator).items() if k.isupper()}
    codes = [names[flatbuffer.get_builtin_code_from_operator_code(c)] for c in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]
