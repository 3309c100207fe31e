import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.self_ensemble import self_ensemble
from tests.inference.functions import blur, blurring, identity

# Outputs of the authors' code; see tests/golden/README.md.
GOLDEN = Path(__file__).parents[1] / "golden" / "aux_eval.npz"


def image(height, width, channels=1):
    return np.random.default_rng(0).random((1, height, width, channels), np.float32)


def test_the_average_matches_the_original_code():
    with np.load(GOLDEN) as golden:
        kernel = golden["x8_kernel"].squeeze()
        noisy, expected = golden["x8_in"], golden["x8_out"]

    def convolve(images):
        filtered = cv2.filter2D(images[0], -1, kernel, borderType=cv2.BORDER_CONSTANT)
        return np.maximum(filtered, 0).reshape(images.shape)

    function = ImageFunction(convolve, channels=1, name="conv")
    restored = self_ensemble(function)(noisy.reshape(1, *noisy.squeeze().shape, 1))
    np.testing.assert_allclose(restored.squeeze(), expected.squeeze(), atol=1e-6)


def test_the_identity_stays_the_identity():
    source = image(7, 12, 3)
    np.testing.assert_allclose(self_ensemble(identity(3))(source), source, rtol=3e-7)


def test_turning_the_input_turns_the_output():
    ensemble, source = self_ensemble(blurring(times=1)), image(9, 14)
    turned = np.rot90(source, axes=(1, 2)).copy()
    expected = np.rot90(ensemble(source), axes=(1, 2))
    np.testing.assert_allclose(ensemble(turned), expected, atol=1e-6)
    assert np.abs(blur(turned) - np.rot90(blur(source), axes=(1, 2))).max() > 0.01


def test_scale_is_kept():
    function = ImageFunction(lambda x: x.repeat(2, 1).repeat(2, 2), 1, "double", scale=2)
    np.testing.assert_allclose(
        self_ensemble(function)(image(5, 8)), function(image(5, 8)), rtol=1e-6
    )


def test_tiles_that_cannot_be_turned_are_refused():
    fixed = dataclasses.replace(identity(), tile_shape=(32, 64))
    with pytest.raises(ValueError, match="square"):
        self_ensemble(fixed)
