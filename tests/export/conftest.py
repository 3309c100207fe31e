import numpy as np
import pytest

from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.models import registry
from keras_rdanet.weights import store


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of two gray pictures of 64x64 pixels."""
    path = tmp_path_factory.mktemp("pictures")
    for index in range(2):
        samples = np.random.default_rng(index).integers(0, 256, (64, 64, 1), np.uint8)
        write_picture(path / f"{index}.png", Picture(samples))
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights of a gray network with one block of 4 filters."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    overrides = {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}
    model = registry.build("rdn_gray", **overrides)
    store.save_weights(model, path, metadata={"preset": "rdn_gray", "overrides": overrides})
    return path
