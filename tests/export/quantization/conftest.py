import hashlib

import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.export.quantization import ranges
from keras_rdanet.export.quantization.calibration import CalibrationTiles
from tests.export.quantization.files import SIDE, converted


@pytest.fixture(scope="session")
def content():
    """A file of two layers and a gate, whose output is the input and a residual."""
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.3, (3, 3, 1, 8)).astype(np.float32)
    mix = random.normal(0, 0.1, (3, 3, 4, 1)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.float32, "degraded")])
    def net(degraded):
        x = tf.nn.relu(tf.nn.conv2d(degraded, kernel, 1, "SAME", name="net/head/Conv2D"))
        x = tf.concat([x, 0.25 * x], -1, name="net/concat")
        x = x * tf.sigmoid(tf.reduce_max(x, -1, keepdims=True))
        x = tf.nn.depth_to_space(x, 2)
        x = tf.nn.conv2d(x, mix, 2, "SAME", name="net/tail/Conv2D")
        return {"restored": degraded + x}

    return converted(net)


@pytest.fixture(scope="session")
def tiles():
    random = np.random.default_rng(1)
    target = random.random((24, SIDE, SIDE, 1), np.float32)
    degraded = target + random.normal(0, 0.05, target.shape).astype(np.float32)
    return CalibrationTiles(degraded, target, hashlib.sha256(degraded.tobytes()).hexdigest())


@pytest.fixture(scope="session")
def extremes(content, tiles):
    return ranges.calibrate(content, tiles.degraded)
