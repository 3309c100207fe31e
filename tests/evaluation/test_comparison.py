import cv2
import numpy as np
import pytest

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.comparison import (
    CROP,
    PICTURES,
    Method,
    baseline_methods,
    compare,
    comparison_sheet,
)
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.tasks import GaussianNoise


def method(name, change):
    return Method(ImageFunction(change, 1, name, support="global_pool"), details={"key": name})


@pytest.fixture
def comparison(tmp_path):
    for index in range(PICTURES + 1):
        shades = np.linspace(30, 220, 16 * 300).reshape(16, 300) + index
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.uint8(shades))
    methods = [method("keep", lambda x: x), method("gray", lambda x: x * 0 + 0.5)]
    return compare(methods, GaussianNoise(25), folder(tmp_path))


def test_methods_see_the_same_inputs(comparison):
    keep, gray = comparison.results
    assert keep.protocol == gray.protocol
    assert [r.method["key"] for r in comparison.results] == ["keep", "gray"]


def test_means_start_with_the_input(comparison):
    rows = comparison.means()
    assert [row["method"] for row in rows] == ["input", "keep", "gray"]
    assert rows[0]["PSNR (dB)"] == rows[1]["PSNR (dB)"]
    gray = comparison.results[1]
    assert rows[2]["PSNR (dB)"] == f"{gray.mean('psnr'):.2f}"
    assert rows[2]["SSIM"] == f"{gray.mean('ssim'):.4f}"


def test_each_image_has_a_row_with_every_method(comparison):
    row = comparison.images()[3]
    image = comparison.results[1].images[3]
    assert row["image"] == "3.png"
    assert row["gray"] == f"{image.psnr:.2f} / {image.ssim:.4f}"


def test_pictures_are_the_middles_of_the_first_images_with_their_scores(comparison):
    assert len(comparison.pictures) == PICTURES
    captions, images = zip(*comparison.pictures[1], strict=True)
    keep = comparison.results[0].images[1]
    assert captions == (
        f"input {keep.psnr_degraded:.2f} dB",
        f"keep {keep.psnr:.2f} dB",
        f"gray {comparison.results[1].images[1].psnr:.2f} dB",
        "target 1.png",
    )
    assert {image.shape for image in images} == {(16, CROP, 1)}
    left = (300 - CROP) // 2
    np.testing.assert_array_equal(images[2], 0.5)
    full = np.uint8(np.linspace(30, 220, 16 * 300).reshape(16, 300) + 1)
    np.testing.assert_array_equal(images[3][..., 0], full[:, left : left + CROP])


def test_sheet_has_a_row_an_image(comparison):
    one, two = comparison_sheet([comparison]), comparison_sheet([comparison, comparison])
    assert one.dtype == np.uint8
    assert one.shape[1] > 4 * CROP
    assert two.shape[0] == pytest.approx(2 * one.shape[0], abs=10)


def test_markdown_holds_means_images_and_protocol(comparison):
    text = comparison.markdown()
    assert text.startswith("## additive white Gaussian noise, sigma 25\n")
    assert "| 4.png |" in text
    assert "- seed: 0" in text
    assert "key: gray" in text


def test_baselines_are_told_the_noise_level():
    methods, missing = baseline_methods(30, channels=1)
    assert missing == []
    details = {one.function.name: one.details for one in methods}
    assert details["BM3D"]["sigma_psd"] == 30 / 255
