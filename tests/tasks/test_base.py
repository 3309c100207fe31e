from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_rdanet.data.sources import folder, pairs
from keras_rdanet.evaluation.published_tiling import four_tiles
from keras_rdanet.image.resize import downsample, upsample
from keras_rdanet.tasks import (
    JPEG,
    BayerMosaic,
    GaussianNoise,
    MotionBlur,
    SuperResolution,
)
from keras_rdanet.tasks.base import Pairs
from keras_rdanet.tasks.scoring import Scoring, score

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "aux_eval.npz")


@pytest.fixture
def color():
    return np.random.default_rng(3).integers(0, 256, (16, 20, 3)).astype(np.uint8)


def write(path, rgb):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])


def test_noise_is_that_of_the_papers(color):
    # numpy.random.seed(0); numpy.random.normal(0, 25 / 255, (1, 2, 3)), printed
    drawn = [0.17294631, 0.03923109, 0.09595478, 0.21969543, 0.18309391, -0.09581151]
    noisy = GaussianNoise(25).degrade(color)
    assert noisy.dtype == np.float32
    np.testing.assert_allclose(noisy[0, :2].ravel() - color[0, :2].ravel() / 255, drawn, atol=2e-7)


def test_noise_is_the_same_for_every_image_and_neither_clipped_nor_rounded(color, tmp_path):
    write(tmp_path / "a.png", color)
    write(tmp_path / "b.png", 255 - color)
    a, b = GaussianNoise(50).protocol().samples(folder(tmp_path), channels=3)
    np.testing.assert_array_equal(a.target, color)
    np.testing.assert_allclose(a.degraded - a.target / 255, b.degraded - b.target / 255, atol=1e-6)
    assert a.degraded.min() < -0.1
    assert a.degraded.max() > 1.1
    assert np.abs(a.degraded * 255 - np.rint(a.degraded * 255)).max() > 0.4
    assert [a.name, b.name] == ["a.png", "b.png"]


def test_channels_of_the_network_decide_how_files_are_loaded(color, tmp_path):
    write(tmp_path / "color.png", color)
    cv2.imwrite(str(tmp_path / "gray.png"), color[..., 0])
    from_color, from_gray = GaussianNoise(15).protocol().samples(folder(tmp_path), channels=1)
    expected = color @ [0.299, 0.587, 0.114]
    assert from_color.target.shape == (16, 20, 1)
    assert np.abs(from_color.target[..., 0] - expected).max() <= 0.51
    assert [from_color.converted, from_gray.converted] == [True, False]
    _, repeated = GaussianNoise(15).protocol().samples(folder(tmp_path), channels=3)
    np.testing.assert_array_equal(repeated.target, np.repeat(color[..., :1], 3, axis=-1))
    assert repeated.converted


def test_limit_takes_the_first_images(color, tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.png", color)
    samples = GaussianNoise(15).protocol().samples(folder(tmp_path), channels=3, limit=2)
    assert [sample.name for sample in samples] == ["a.png", "b.png"]


def test_deeper_images_are_refused(color, tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), color.astype(np.uint16) * 257)
    with pytest.raises(ValueError, match=r"deep.png has uint16 samples.*8 bits"):
        list(GaussianNoise(15).protocol().samples(folder(tmp_path), channels=3))


def test_pairs_give_the_noisy_image_in_and_the_clean_one_as_target(color, tmp_path):
    write(tmp_path / "noisy" / "x.png", color)
    write(tmp_path / "clean" / "x.png", 255 - color)
    (sample,) = Pairs().samples(pairs(tmp_path / "noisy", tmp_path / "clean"), channels=3)
    np.testing.assert_array_equal(sample.degraded, color / np.float32(255))
    np.testing.assert_array_equal(sample.target, 255 - color)


def test_score_clips_and_rounds_half_to_even():
    target = np.full((12, 12, 1), 255, np.uint8)
    target[:6] = 0
    target[0, 0] = 2
    restored = np.where(target > 100, 1.7, -0.3).astype(np.float32)
    restored[0, 0] = 1.5 / 255  # to 2; 2.5 also
    assert score(restored, target) == (np.inf, pytest.approx(1), None)
    restored[0, 0] = 0.5 / 255  # to 0, an error of 2 in one of 144 pixels
    assert score(restored, target).psnr == pytest.approx(10 * np.log10(255**2 * 144 / 4))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_score_refuses_what_is_not_finite(value):
    restored = np.zeros((12, 12, 1), np.float32)
    restored[3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        score(restored, np.zeros((12, 12, 1), np.uint8))


# size -> tile, from the arithmetic of the original test code
@pytest.mark.parametrize(("size", "tile"), [(256, 192), (512, 320), (321, 192), (481, 256)])
def test_four_tiles_have_the_original_sizes(size, tile):
    seen = []
    four_tiles(lambda tiles: seen.append(tiles.shape) or tiles, np.zeros((1, size, 70, 1)))
    assert seen == [(1, tile, 64, 1)] * 4


def test_four_tiles_take_each_quarter_from_its_corner():
    image = np.random.default_rng(2).random((1, 130, 151, 2))
    means = iter(range(4))
    restored = four_tiles(lambda tiles: tiles + next(means), image)
    added = restored - image
    for i, rows in enumerate([np.s_[:65], np.s_[65:]]):
        for j, columns in enumerate([np.s_[:75], np.s_[75:]]):
            np.testing.assert_allclose(added[0, rows, columns], 2 * i + j, atol=1e-12)


def test_four_tiles_refuse_what_the_original_breaks_on():
    with pytest.raises(ValueError, match="at least 64 pixels, got 63x100"):
        four_tiles(lambda tiles: tiles, np.zeros((1, 63, 100, 1)))


@pytest.mark.parametrize("case", ["a", "b"])
def test_four_tiles_agree_with_the_original_code(case):
    image = GOLDEN[f"onesplit_{case}_in"].transpose(0, 2, 3, 1) / np.float32(255)
    restored = four_tiles(lambda tiles: tiles + tiles.mean(), image)
    expected = GOLDEN[f"onesplit_{case}_out_first"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(restored, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "channels"), [("gray", 1), ("color", 3)])
def test_noise_agrees_with_the_original_code(name, channels):
    noisy = GaussianNoise(25).degrade(np.full((8, 10, channels), 128, np.uint8))
    np.testing.assert_allclose(noisy, GOLDEN[f"noisy128_sigma25_seed0_{name}"], atol=1e-7)


# --- what is compared


def test_scoring_on_luma_is_that_of_the_matlab_code():
    generator = np.random.default_rng(11)
    target = generator.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    restored = np.clip(target / 255 + generator.normal(0, 0.03, target.shape), 0, 1)
    eight_bits = np.rint(restored * 255)
    y, y_target = (x @ [65.481, 128.553, 24.966] / 255 + 16 for x in (eight_bits, target))
    expected = 10 * np.log10(255**2 / np.mean((y - y_target) ** 2))
    assert Scoring("exact")(restored, target).psnr == pytest.approx(expected, abs=1e-9)
    error = np.floor(y + 0.5) - np.floor(y_target + 0.5)
    expected = 10 * np.log10(255**2 / np.mean(error**2))
    assert Scoring("rounded")(restored, target).psnr == pytest.approx(expected, abs=1e-9)
    inside = np.s_[3:-3, 3:-3]
    assert Scoring("exact", crop_border=3)(restored, target) == Scoring("exact")(
        restored[inside], target[inside]
    )


def test_gray_images_are_luma_already():
    target = np.random.default_rng(1).integers(0, 256, (20, 24, 1)).astype(np.uint8)
    restored = np.clip(target / 255 + 0.02, 0, 1)
    assert Scoring("exact")(restored, target) == score(restored, target)


@pytest.mark.parametrize(("channels", "has_blocks"), [(1, True), (3, False)])
def test_psnr_b_is_of_gray_images(channels, has_blocks):
    target = np.random.default_rng(1).integers(0, 256, (20, 24, channels)).astype(np.uint8)
    scored = Scoring(blocks=True)(target / 255 * 0.9, target)
    assert (scored.psnr_b is not None) == has_blocks
    assert ("psnr_b" in Scoring(blocks=True).describe(channels)) == has_blocks


def test_the_description_says_what_is_compared():
    assert "not rounded" in Scoring("exact").describe(3)["psnr"]
    assert "rounded to uint8" in Scoring("rounded").describe(3)["psnr"]
    assert "all pixels and channels" in Scoring("exact").describe(1)["psnr"]
    assert Scoring("exact", crop_border=4).describe(3)["crop_border"] == 4


# --- tasks


def test_jpeg_is_what_opencv_writes(color, tmp_path):
    write(tmp_path / "x.png", color)
    (rgb,) = JPEG(30).protocol().samples(folder(tmp_path), channels=3)
    _, file = cv2.imencode(".jpg", color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    np.testing.assert_array_equal(np.rint(rgb.degraded * 255), cv2.imdecode(file, 1)[..., ::-1])
    np.testing.assert_array_equal(rgb.target, color)


def test_jpeg_of_colours_for_a_gray_network_is_luma_of_limited_range(color, tmp_path):
    write(tmp_path / "x.png", color)
    (gray,) = JPEG(30).protocol().samples(folder(tmp_path), channels=1)
    y = np.floor(color @ [65.481, 128.553, 24.966] / 255 + 16.5).astype(np.uint8)
    np.testing.assert_array_equal(gray.target[..., 0], y)
    _, file = cv2.imencode(".jpg", y, [cv2.IMWRITE_JPEG_QUALITY, 30])
    np.testing.assert_array_equal(np.rint(gray.degraded[..., 0] * 255), cv2.imdecode(file, 0))


def test_a_mosaic_keeps_one_colour_of_each_pixel(color, tmp_path):
    write(tmp_path / "x.png", color)
    (sample,) = BayerMosaic().protocol().samples(folder(tmp_path), channels=3)
    assert (sample.degraded[::2, ::2, 0] * 255).round().tolist() == color[::2, ::2, 0].tolist()
    assert (sample.degraded > 0).sum(axis=-1).max() == 1
    np.testing.assert_array_equal(sample.target, color)
    with pytest.raises(ValueError, match="RGB"):
        list(BayerMosaic().protocol().samples(folder(tmp_path), channels=1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_small_images_come_from_targets_cut_to_multiples(color, tmp_path, scale):
    write(tmp_path / "x.png", color[:15, :19])
    (sample,) = SuperResolution(scale).protocol().samples(folder(tmp_path), channels=3)
    height, width = 15 // scale * scale, 19 // scale * scale
    np.testing.assert_array_equal(sample.target, color[:height, :width])
    small = downsample(sample.target / 255, scale)
    expected = np.rint(np.clip(small, 0, 1) * 255) / 255
    np.testing.assert_allclose(sample.degraded, expected, atol=1e-6)
    np.testing.assert_array_equal(sample.enlarged, upsample(sample.degraded, scale))


def test_other_scales_are_refused():
    with pytest.raises(ValueError, match="2, 3 or 4, got 5"):
        SuperResolution(5)


def test_synthetic_degradations_are_repeated_but_differ_between_images(color, tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.png", np.tile(color, (2, 2, 1)))
    protocol = MotionBlur(length=6).protocol()
    a, b = protocol.samples(folder(tmp_path), channels=3)
    again, _ = protocol.samples(folder(tmp_path), channels=3)
    np.testing.assert_array_equal(a.degraded, again.degraded)
    assert np.abs(a.degraded - b.degraded).max() > 0.1
    np.testing.assert_allclose(a.degraded * 255, np.rint(a.degraded * 255), atol=1e-4)
    assert "MotionBlur(length=6" in protocol.describe(3)["degradation"]


def test_pairs_may_differ_by_the_scale_and_by_nothing_else(color):
    class Source(list):
        paired = True

        def name(self, index):
            return f"folder/{index}.png"

        def read(self, index):
            return self[index]

    (sample,) = Pairs(scale=2).samples(Source([(color[:8, :10], color)]), channels=3)
    assert (sample.degraded.shape, sample.target.shape) == ((8, 10, 3), (16, 20, 3))
    with pytest.raises(ValueError, match=r"0.png is 10x7 and its partner 20x16 .* not 2 times"):
        list(Pairs(scale=2).samples(Source([(color[:7, :10], color)]), channels=3))
