import numpy as np
import pytest
from skimage import data

from keras_rdanet.image.color import luma
from keras_rdanet.inference.noise_level import estimate_sigma

SIGMAS = (5, 15, 25, 50)


def noisy(image, sigma):
    image = np.asarray(image, np.float64)
    image = image if image.ndim == 3 else image[..., None]
    return (image + np.random.default_rng(1).normal(0, sigma, image.shape)) / 255


def rounded(values):
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", ["astronaut", "camera", "chelsea", "coffee", "moon", "rocket"])
def test_within_a_tenth_on_photographs_as_uint8(name, sigma):
    image = rounded(noisy(getattr(data, name)(), sigma))
    assert estimate_sigma(image) == pytest.approx(sigma, rel=0.1)


def test_depth_does_not_matter():
    sigma = 20
    values = noisy(data.camera(), sigma).astype(np.float32)
    deep = np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
    assert estimate_sigma(values) == pytest.approx(sigma, rel=0.05)
    assert estimate_sigma(deep) == pytest.approx(sigma, rel=0.05)


def test_gray_and_rgb_agree():
    sigma = 20
    rgb = rounded(noisy(data.chelsea(), sigma))
    gray = luma(rgb)  # averages the noise of three channels
    expected = sigma * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert estimate_sigma(gray) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_texture_is_told_from_noise_where_there_is_a_smooth_spot(sigma):
    rows, columns = np.mgrid[:256, :256]
    texture = np.where(columns < 200, 60 * np.sin(rows * 0.9) * np.sin(columns * 1.1), 0)
    assert estimate_sigma(noisy(128 + texture, sigma)) == pytest.approx(sigma, rel=0.1)


def test_saturated_areas_do_not_count():
    sigma = 20
    image = np.full((256, 256), 120.0)
    image[:, :200] = 255
    assert estimate_sigma(rounded(noisy(image, sigma))) == pytest.approx(sigma, rel=0.1)


def test_a_picture_without_noise_has_none():
    assert estimate_sigma(np.full((50, 60, 3), 77, np.uint8)) == 0
    ramp = np.linspace(0, 1, 100, dtype=np.float32)[:, None, None] * np.ones((1, 80, 1), np.float32)
    assert estimate_sigma(ramp) < 0.01


@pytest.mark.parametrize("size", [(4, 4), (5, 300), (17, 18), (300, 4)])
def test_small_pictures_have_an_estimate(size):
    estimate = estimate_sigma(noisy(np.full(size, 128.0), 25))
    assert 5 < estimate < 75


def test_too_small_a_picture_is_an_error():
    with pytest.raises(ValueError, match="4x4"):
        estimate_sigma(np.zeros((3, 100, 1), np.uint8))


def test_a_large_picture_is_judged_by_some_of_its_rows(monkeypatch):
    sigma = 25
    monkeypatch.setattr("keras_rdanet.inference.noise_level.MAX_PIXELS", 20_000)
    assert estimate_sigma(rounded(noisy(data.camera(), sigma))) == pytest.approx(sigma, rel=0.15)
