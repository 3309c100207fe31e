import dataclasses

import numpy as np
import pytest

from keras_rdanet.evaluation import stress_tests
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.weights.origin import Origin


def function(change, channels=3, **arguments):
    return ImageFunction(change, channels, "fake", support="global_pool", **arguments)


@pytest.mark.parametrize("channels", [1, 3])
def test_returning_the_picture_passes(channels):
    findings = stress_tests.run(function(lambda images: images, channels))
    assert all(finding.passed for finding in findings)
    assert {finding.psnr for finding in findings} == {np.inf}
    assert all(finding.shift == 0 for finding in findings if finding.shift is not None)


def test_the_suite_holds_what_networks_fail_on():
    found = {case.name: case.image for case in stress_tests.cases(3)}
    for image in found.values():
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
    np.testing.assert_allclose(found["flat dark colour"][5, 6] * 255, [33, 25, 23], atol=1e-4)
    np.testing.assert_array_equal(found["yellow"][0, 0], [1, 1, 0])
    assert found["8x8 pixels"].shape == (8, 8, 3)
    assert found["1x4000 pixels"].shape == (1, 4000, 3)
    board = found["checkerboard of 1 pixel"]
    assert board[0, 0, 0] == 0
    assert board[0, 1, 0] == board[1, 0, 0] == 1
    salted = found["salt and pepper"]
    assert 0.03 < np.mean(salted.min(axis=-1) == 1) < 0.08
    assert found["under-exposed"].max() <= 1 / 16
    assert len(found) == len(stress_tests.cases(3))


def test_gray_suite_is_the_luma_of_the_colours():
    found = {case.name: case.image for case in stress_tests.cases(1)}
    assert found["red"][0, 0] == pytest.approx(0.299, abs=1e-5)
    assert found["flat dark colour"][0, 0] * 255 == pytest.approx(27.164, abs=1e-3)


def test_shift_is_that_of_the_worst_channel_after_clipping():
    move = np.float32([0, 0, 3 / 255])
    findings = {f.case: f for f in stress_tests.run(function(lambda images: images + move))}
    assert findings["middle gray"].shift == pytest.approx(3, abs=1e-3)
    assert not findings["middle gray"].passed
    assert findings["blue"].shift == 0  # already white there
    assert findings["blue"].passed
    small = stress_tests.run(function(lambda images: images + np.float32(1.9 / 255)))
    assert all(finding.passed for finding in small)


def test_nan_in_one_pixel_fails():
    def spoil(images):
        images = images.copy()
        images[0, 0, 0, 0] = np.nan
        return images

    findings = stress_tests.run(function(spoil))
    assert {finding.fault for finding in findings} == {"not finite"}
    assert findings[0].psnr is None


def test_divergence_fails():
    findings = stress_tests.run(function(lambda images: 20 * (images - 0.5) + 0.5))
    assert all("values from" in f.fault for f in findings if f.case != "middle gray")


def test_given_photograph_replaces_the_scene():
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 1)).astype(np.uint8)
    found = {case.name: case.image for case in stress_tests.cases(1, photo)}
    np.testing.assert_array_equal(found["clean"], photo / np.float32(255))


def test_tiny_pictures_reach_networks_with_a_least_size():
    shapes = []

    def spy(images):
        shapes.append(images.shape[1:3])
        return images

    stress_tests.run(dataclasses.replace(function(spy), multiple=4, min_size=4))
    assert min(min(shape) for shape in shapes) == 4
    assert (4, 4000) in shapes


def test_the_task_of_a_network_adds_its_own_pictures():
    usual = {case.name for case in stress_tests.cases(3)}
    assert {case.name for case in stress_tests.cases(3, task="jpeg")} - usual == {"quality 5"}
    network = function(lambda images: images, origin=Origin("any", task="jpeg"))
    found = stress_tests.run(network)
    assert {finding.case for finding in found} - usual == {"quality 5"}
