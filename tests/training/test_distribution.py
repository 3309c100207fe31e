import subprocess
import sys

import cv2
import numpy as np
from safetensors.numpy import load_file

# In a process of its own: devices can only be made before TensorFlow starts.
SCRIPT = """
import sys
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from keras_rdanet.config import RunConfig
from keras_rdanet.training.fit import train

images, *outputs = sys.argv[1:]
for distribution, output in zip(("none", "mirrored"), outputs):
    train(RunConfig.model_validate({
        "model": {"preset": "tsp_rdanet_tiny_gray", "overrides": {"filters": 8}},
        "data": {
            "train": images,
            "phases": [{"steps": 4, "patch_size": 12, "batch_size": 4}],
        },
        "degradation": {"name": "gaussian_noise", "sigma": [0, 50]},
        "optimizer": {"ema": 0.9},
        "schedule": {"name": "cosine", "peak": 1e-3},
        "checkpoint_steps": 2,
        "distribution": distribution,
    }), output)
"""


def test_two_replicas_train_as_one(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(3):
        image = cv2.resize(random.integers(0, 256, (6, 6), np.uint8), (32, 32))
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), image)
    outputs = [tmp_path / "one", tmp_path / "two"]
    command = [sys.executable, "-c", SCRIPT, tmp_path / "images", *outputs]
    subprocess.run(command, check=True, capture_output=True, timeout=280)

    one, two = (load_file(output / "checkpoint.safetensors") for output in outputs)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-6, err_msg=name)
