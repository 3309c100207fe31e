import keras
import numpy as np
import pytest
from PIL import Image

import keras_rdanet as kr
from keras_rdanet.models import registry
from keras_rdanet.models.base import RestorationModel


@keras.saving.register_keras_serializable(package="tests")
class OneConvolution(RestorationModel):
    """A network that only this test knows."""

    PRESETS = {
        "one_gray": {"filters": 4, "channels": 1},
        "one_rgb": {"filters": 4, "channels": 3},
    }
    radius = 2

    def __init__(self, filters, channels, **kwargs):
        degraded = keras.Input((None, None, channels), name="degraded")
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="head")(
            degraded
        )
        x = keras.layers.Conv2D(channels, 3, padding="same", name="tail")(x)
        restored = keras.layers.Add(name="restored", dtype="float32")([degraded, x])
        super().__init__(degraded, restored, **kwargs)
        self.filters = filters
        self.channels = channels

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "channels": self.channels}


def test_a_new_network_is_one_class_and_a_line_for_its_presets(tmp_path, monkeypatch):
    """It trains, is saved, opened, restores and is exported without another edit."""
    for preset in OneConvolution.PRESETS:
        monkeypatch.setitem(registry.PRESETS, preset, f"{__name__}:OneConvolution")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    noisy = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photos" / "a.png")

    model = kr.create_model("one_rgb", weights=None, filters=6)
    noise = kr.tasks.GaussianNoise(sigma=(0, 50))
    data = kr.dataset("photos", model, noise, patch_size=16, batch_size=2, steps=2)
    model.compile("adam", "mae", metrics=[kr.metrics.PSNR()])
    model.fit(data, verbose=0)
    kr.save_weights(model, "one.safetensors", task="gaussian_noise")
    restored = kr.Restorer("one.safetensors", precision="float32")(noisy[None] / np.float32(255))
    np.testing.assert_allclose(restored, model.predict(noisy[None] / 255, verbose=0), atol=1e-5)
    result = kr.evaluate("one.safetensors", "photos", sigma=25)
    assert result.method["name"] == "one.safetensors"
    (report,) = kr.export(
        model, "out", formats=["saved_model"], variants=["fp32"], calibration="photos", size=32
    )
    assert report.metadata.preset == "one_rgb"
    assert report.metadata.overrides == {"filters": 6}


def test_unknown_networks_are_named():
    with pytest.raises(ValueError, match="There is no network 'one_rgb'; known: tsp_rdanet_gray"):
        registry.build("one_rgb")
