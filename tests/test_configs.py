"""Every config of the repository loads and fits its network; one of each kind trains, in small."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.config import load_config
from keras_rdanet.models import registry
from keras_rdanet.training.fit import train

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*/*.yaml"))

SMALL = {
    "mprnet/derain_synthetic": (
        "{filters: 4, unet_growth: 2, orsnet_growth: 2, num_blocks: 1, reduction: 2}",
        16,
    ),
    "danet/s_rgb": (
        "{filters: [4, 4], encoder_blocks: 1, decoder_blocks: 1, state: 4, num_convs: 1}",
        16,
    ),
    "panet/mosaic": ("{filters: 4, num_blocks: 2}", 12),
    "panet/x2": ("{filters: 8, num_blocks: 2}", 16),
    "rdn/x3": ("{filters: 4, growth_rate: 4, num_blocks: 1, num_layers: 1}", 12),
}


def name(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(2):
        image = cv2.resize(random.integers(0, 256, (4, 4, 3), np.uint8), (32, 40))
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder


@pytest.fixture
def eager():
    """Compiling large graphs takes longer than two steps of them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_config_opens_with_its_command_and_suits_its_network(path):
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    assert re.match(rf"# keras-rdanet train configs/{name(path)}\.yaml", first)
    config = load_config(path)
    network = registry.network(config.model.preset)
    scale = network.PRESETS[config.model.preset].get("scale", 1)
    assert getattr(config.degradation, "scale", 1) == scale
    assert all(phase.patch_size % (scale * network.multiple) == 0 for phase in config.data.phases)


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though")
@pytest.mark.parametrize("config", SMALL)
def test_config_trains(config, images, tmp_path):
    overrides, size = SMALL[config]
    options = load_config(
        Path(__file__).parents[1] / "configs" / f"{config}.yaml",
        [
            f"model.overrides={overrides}",
            "model.teacher=null",
            f"data.train={images}",
            f"data.phases=[{{steps: 2, patch_size: {size}, batch_size: 1}}]",
            f"validation.data={images}",
            "validation.crop=24",
            "validation.limit=1",
            "checkpoint_steps=2",
        ],
    )
    report = train(options, tmp_path / "run")
    assert np.isfinite([report["final"]["loss"], report["final"]["val_psnr"]]).all()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["steps"] == 2
