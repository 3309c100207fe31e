import builtins

import cv2
import numpy as np
import pytest
from skimage.restoration import denoise_tv_chambolle, denoise_wavelet

from keras_rdanet.evaluation import baselines
from keras_rdanet.tasks import GaussianNoise
from keras_rdanet.tasks.scoring import score


@pytest.fixture(params=[1, 3])
def clean(request):
    """A few tinted shades and edges, on 32x32 pixels."""
    shades = cv2.GaussianBlur(np.random.default_rng(11).random((32, 32)), (0, 0), 3)
    shades = (shades - shades.min()) / np.ptp(shades)
    picture = shades[..., None] * [0.7, 0.9, 1.0]
    picture[8:20, 6:24] = [0.8, 0.5, 0.4]
    return np.uint8(np.rint(255 * picture[..., : request.param]))


@pytest.mark.parametrize(
    ("make", "sigma"),
    [
        (baselines.non_local_means, 15),
        (baselines.non_local_means, 50),
        (baselines.wavelet, 15),
        (baselines.wavelet, 50),
        (baselines.total_variation, 15),
        (baselines.total_variation, 50),
        (baselines.bm3d, 25),
    ],
)
def test_every_baseline_removes_noise(make, sigma, clean):
    noisy = GaussianNoise(sigma).degrade(clean)
    restored = make(sigma, clean.shape[-1]).function(noisy[None])
    assert restored.dtype == np.float32
    assert restored.shape == (1, *clean.shape)
    assert score(restored[0], clean).psnr > score(noisy, clean).psnr + 1


def test_colours_keep_their_order():
    shade = np.linspace(0.7, 1, 16, dtype=np.float32)[None, :, None]
    red = np.broadcast_to(shade * np.float32([0.8, 0.2, 0.1]), (16, 16, 3))
    for make in (baselines.non_local_means, baselines.wavelet, baselines.total_variation):
        np.testing.assert_allclose(make(5, 3).function(red[None])[0], red, atol=0.08)


def test_parameters_are_those_of_the_call(clean):
    channels = clean.shape[-1]
    noisy = GaussianNoise(25).degrade(clean)
    wavelet = baselines.wavelet(25, channels)
    arguments = {k: v for k, v in wavelet.parameters.items() if k != "function"}
    axis = {"channel_axis": -1} if channels == 3 else {}
    expected = denoise_wavelet(noisy if channels == 3 else noisy[..., 0], **arguments, **axis)
    np.testing.assert_allclose(
        wavelet.function(noisy[None])[0], expected.reshape(noisy.shape), atol=1e-6
    )
    total = baselines.total_variation(25, channels)
    arguments = {k: v for k, v in total.parameters.items() if k != "function"}
    expected = denoise_tv_chambolle(noisy, channel_axis=-1, **arguments)
    np.testing.assert_allclose(total.function(noisy[None])[0], expected, atol=1e-6)


def test_missing_packages_are_told(monkeypatch):
    def without(name, *arguments, **keywords):
        if name == "bm3d":
            raise ImportError("No module named 'bm3d'")
        return original(name, *arguments, **keywords)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    found, missing = baselines.baselines(25, 1)
    assert [baseline.function.name for baseline in found][-1] == "scikit-image total variation"
    assert missing == ["bm3d left out: No module named 'bm3d'"]


def test_noise_of_unknown_level_gets_what_opencv_does_by_default():
    (only,), missing = baselines.baselines(None, channels=3)
    assert missing == []
    image = np.random.default_rng(0).integers(90, 110, (24, 24, 3)).astype(np.uint8)
    expected = cv2.fastNlMeansDenoisingColored(image[..., ::-1].copy())[..., ::-1]
    restored = only.function((image / 255)[None].astype(np.float32))[0]
    np.testing.assert_array_equal(np.rint(restored * 255), expected)
