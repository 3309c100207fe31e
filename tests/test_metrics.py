import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from keras_rdanet.metrics import PSNR, psnr, psnr_b, ssim

GOLDEN = np.load(Path(__file__).parent / "golden" / "aux_eval.npz")


@pytest.fixture
def pair():
    generator = np.random.default_rng(7)
    target = generator.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    noise = generator.normal(0, 20, target.shape)
    return np.clip(target + noise, 0, 255).astype(np.uint8), target


def ssim_by_loop(a, b):
    """The definition for one channel: window by window, nothing clever."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 6.5025, 58.5225
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return np.mean(values)


def test_psnr_of_a_known_error():
    target = np.zeros((4, 5, 3), np.uint8)
    restored = target.copy()
    restored[0, 0, 0] = 60  # mean squared error 3600 / 60 = 60
    assert psnr(restored, target) == pytest.approx(10 * np.log10(255**2 / 60), abs=1e-12)


def test_psnr_does_not_wrap_unsigned_integers():
    dark, light = np.full((4, 4), 0, np.uint8), np.full((4, 4), 255, np.uint8)
    assert psnr(dark, light) == psnr(light, dark) == 0


def test_psnr_of_equal_images_is_infinite(pair):
    assert psnr(pair[1], pair[1]) == np.inf


def test_psnr_scales_with_white(pair):
    restored, target = pair
    scaled = psnr(restored / 255, target / 255, max_val=1)
    assert scaled == pytest.approx(psnr(restored, target), abs=1e-9)


def test_crop_border_ignores_the_frame(pair):
    restored, target = pair
    spoiled = restored.copy()
    spoiled[:4], spoiled[-4:], spoiled[:, :4], spoiled[:, -4:] = 0, 255, 0, 255
    assert psnr(spoiled, target, crop_border=4) == psnr(restored, target, crop_border=4)
    assert psnr(spoiled, target, crop_border=3) < psnr(restored, target, crop_border=3)
    assert ssim(spoiled, target, crop_border=4) == ssim(restored, target, crop_border=4)
    assert ssim(restored, target, crop_border=4) == ssim(restored[4:-4, 4:-4], target[4:-4, 4:-4])


def test_ssim_agrees_with_the_definition(pair):
    restored, target = (image.astype(np.float64) for image in pair)
    expected = [ssim_by_loop(restored[..., c], target[..., c]) for c in range(3)]
    assert ssim(*pair) == pytest.approx(np.mean(expected), abs=1e-12)
    assert ssim(pair[0][..., 0], pair[1][..., 0]) == pytest.approx(expected[0], abs=1e-12)


def test_ssim_agrees_with_scikit_image(pair):
    restored, target = pair
    _, similarity = structural_similarity(
        restored,
        target,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.5,
        use_sample_covariance=False,
        channel_axis=2,
        data_range=255,
        full=True,
    )
    assert ssim(restored, target) == pytest.approx(similarity[5:-5, 5:-5].mean(), abs=1e-9)


@pytest.mark.parametrize("crop_border", [0, 1, 4])
@pytest.mark.parametrize("name", ["gray", "color"])
def test_agrees_with_the_original_code(name, crop_border):
    a, b = GOLDEN[f"metric_{name}_a"], GOLDEN[f"metric_{name}_b"]
    expected = [GOLDEN[f"{kind}_{name}_border{crop_border}"] for kind in ("psnr", "ssim")]
    measured = [psnr(a, b, crop_border=crop_border), ssim(a, b, crop_border=crop_border)]
    np.testing.assert_allclose(measured, expected, atol=1e-9)


def test_ssim_of_two_constants():  # variances vanish, the luminance term stays
    expected = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert ssim(np.full((12, 12), 100), np.full((12, 12), 150)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_that_cannot_be_compared_are_refused(metric):
    with pytest.raises(ValueError, match=r"\(12, 12\) and \(12, 12, 1\)"):
        metric(np.zeros((12, 12)), np.zeros((12, 12, 1)))
    with pytest.raises(ValueError, match="crop_border"):
        metric(np.zeros((12, 12)), np.zeros((12, 12)), crop_border=6)


def test_ssim_names_its_smallest_image():
    with pytest.raises(ValueError, match="at least 11x11 pixels, got 10x12"):
        ssim(np.zeros((10, 12)), np.zeros((10, 12)))


def test_scoring_needs_no_keras():
    code = "import sys, keras_rdanet.metrics; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_keras_metric_is_the_mean_over_images_of_the_clipped_psnr():
    generator = np.random.default_rng(1)
    target = generator.random((3, 8, 9, 1), np.float32)
    restored = target + generator.normal(0, [[[[0.05]]], [[[0.1]]], [[[0.4]]]], target.shape)
    expected = [psnr(np.clip(r, 0, 1), t, max_val=1) for r, t in zip(restored, target, strict=True)]
    metric = PSNR()
    metric.update_state(target[:2], restored[:2])  # batches of unequal size
    metric.update_state(target[2:], restored[2:])
    assert float(metric.result()) == pytest.approx(np.mean(expected), abs=1e-4)
    metric.reset_state()
    metric.update_state(target, target)
    assert float(metric.result()) == pytest.approx(100, abs=1e-3)


def test_keras_metric_survives_a_config():
    import keras

    metric = PSNR(max_val=255, name="psnr_stage2")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert copy.get_config() == metric.get_config()
    copy.update_state(np.full((1, 2, 2, 1), 10.0), np.full((1, 2, 2, 1), 20.0))
    assert float(copy.result()) == pytest.approx(10 * np.log10(255**2 / 100), abs=1e-4)


def test_psnr_b_is_psnr_without_seams():
    flat = np.full((24, 24), 100)
    assert psnr_b(flat, flat) == np.inf
    assert psnr_b(flat + 5, flat) == psnr(flat + 5, flat)


def test_psnr_b_adds_the_steps_across_seams():
    # Blocks of 8 pixels that lie 10 gray levels apart: across seams the mean
    # squared step is 100, within blocks 0; log 8 / log 16 = 3 / 4.
    steps = 10 * (np.indices((16, 24)) // 8).sum(axis=0)
    error = 75 + 4
    assert psnr_b(steps, steps + 2) == pytest.approx(10 * np.log10(255**2 / error))
    assert psnr_b(steps[..., None], steps[..., None] + 2) == psnr_b(steps, steps + 2)


def test_psnr_b_does_not_reward_what_is_rougher_within_blocks():
    stripes = 50 * (np.indices((16, 24)).sum(axis=0) % 2)
    stripes[:, 8] = stripes[:, 7]
    stripes[:, 16] = stripes[:, 15]
    assert psnr_b(stripes, stripes + 2) == psnr(stripes, stripes + 2)


@pytest.mark.parametrize("shape", [(8, 40), (24, 24, 3)])
def test_psnr_b_refuses_colours_and_single_blocks(shape):
    with pytest.raises(ValueError, match="one channel and more than 8x8 pixels"):
        psnr_b(np.zeros(shape), np.zeros(shape))
