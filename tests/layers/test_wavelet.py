import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.layers.wavelet import HaarTransform, InverseHaarTransform


def run(layer, x):
    return ops.convert_to_numpy(layer(x))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype("f4")


def test_bands_of_one_cell():
    cell = np.float32([[1, 2], [5, 9]]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(run(HaarTransform(), cell).ravel(), [8.5, 2.5, 5.5, 1.5])


def test_bands_come_one_after_another_with_all_channels_each(x):
    bands = run(HaarTransform(), x)
    assert bands.shape == (2, 3, 4, 12)
    for channel in range(3):
        alone = run(HaarTransform(), x[..., channel : channel + 1])
        np.testing.assert_array_equal(bands[..., channel::3], alone)


@pytest.mark.parametrize(("axis", "band"), [(2, 1), (1, 2)])
def test_ramps_have_one_band_beside_the_mean(axis, band):
    ramp = np.broadcast_to(
        np.arange(8, dtype="f4").reshape((1, 1, 8, 1) if axis == 2 else (1, 8, 1, 1)), (1, 8, 8, 1)
    )
    bands = run(HaarTransform(), ramp)
    assert (bands[..., band] == 1).all()
    assert not np.delete(bands, [0, band], axis=-1).any()


def test_the_inverse_reconstructs_and_energy_stays(x):
    bands = run(HaarTransform(), x)
    np.testing.assert_allclose(run(InverseHaarTransform(), bands), x, atol=1e-6)
    np.testing.assert_allclose((bands**2).sum(), (x**2).sum(), rtol=1e-6)


def test_shapes_are_known_beforehand():
    bands = HaarTransform()(keras.Input((None, 6, 3)))
    assert bands.shape == (None, None, 3, 12)
    assert InverseHaarTransform()(bands).shape == (None, None, 6, 3)


def test_odd_sizes_are_refused(x):
    with pytest.raises(ValueError, match="got 5x8; pad"):
        HaarTransform()(x[:, :5])
