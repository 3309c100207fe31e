"""Write a small SavedModel of every network, and what it computes, for the tests beside this file.

Runs in the main environment: `python tests/interop/write_models.py build/interop`.
"""

import json
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from keras_rdanet.export.formats.saved_model import export_saved_model
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta

NETWORKS = {
    "tsp_rdanet": ("tsp_rdanet_tiny_gray", {"filters": 8}),
    "rdn_x2": (
        "rdn_rgb_x2",
        {"filters": 4, "growth_rate": 4, "num_blocks": 2, "num_layers": 2},
    ),
    "mprnet": (
        "mprnet_derain",
        {"filters": 4, "unet_growth": 1, "orsnet_growth": 1, "num_blocks": 1},
    ),
    "danet": (
        "danet_gray",
        {
            "filters": (4, 4),
            "encoder_blocks": 1,
            "decoder_blocks": 1,
            "state": 4,
            "reduction": 2,
        },
    ),
    "panet": ("panet_gray", {"filters": 4, "num_blocks": 2}),
}


def write(name: str, folder: Path) -> None:
    """Write one SavedModel, and as `.npz` its inputs and outputs by Keras."""
    preset, overrides = NETWORKS[name]
    model = registry.build(preset, **overrides)
    metadata = meta.describe(model, preset, overrides=overrides)
    export_saved_model(model, folder / name, metadata)
    restore = model.image_function()
    random = np.random.default_rng(0)
    bytes_ = random.integers(0, 256, (1, 24, 16, model.channels), np.uint8)
    floats = random.random((2, 16, 24, model.channels), np.float32)
    restored_bytes = np.rint(np.clip(restore(bytes_ / np.float32(255)), 0, 1) * 255)
    np.savez(
        folder / f"{name}.npz",
        degraded=floats,
        restored=restore(floats),
        degraded_uint8=bytes_,
        restored_uint8=restored_bytes.astype(np.uint8),
        degraded_png=cv2.imencode(".png", bytes_[0, ..., ::-1])[1],
    )


def main() -> None:
    """Write all of them into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    tf.get_logger().setLevel("ERROR")  # it warns of every network's own functions
    for name in NETWORKS:
        write(name, folder)
        print(f"{folder / name}")
    (folder / "names.json").write_text(json.dumps(list(NETWORKS)))


if __name__ == "__main__":
    main()
