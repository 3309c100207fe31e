import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.rain import Rain

BLACK = tf.zeros((4, 48, 48, 3))


def layer(seed=(1, 2), **options):
    """The rain on black images, one channel."""
    return Rain(**options)(BLACK, seed).numpy()[..., 0]


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_streaks_are_bright_and_of_no_colour():
    rainy = Rain()(tf.fill((4, 32, 32, 3), 0.25), [1, 2]).numpy()
    rain = rainy - 0.25
    assert rain.min() >= 0
    assert rain.max() > 0.2
    np.testing.assert_allclose(rain[..., 0], rain[..., 2], atol=1e-6)


def test_density_counts_streaks():
    # A drop of mean brightness 0.65, drawn out to 10 pixels, adds 6.5 to the sum.
    rain = layer(density=0.002, length=10, angle=0, strength=1)
    assert rain.mean() == pytest.approx(0.002 * 6.5, rel=0.25)
    assert not layer(density=0).any()


def test_streaks_are_as_bright_as_their_drops():
    rain = layer(density=0.0005, length=16, angle=0, strength=0.5)
    assert 0.4 < rain.max() <= 0.5


def test_rain_falls_down_and_not_across():
    rain = layer(density=0.005, length=16, angle=0)
    assert correlation(rain[:, 6:], rain[:, :-6]) > 0.5
    assert abs(correlation(rain[:, :, 6:], rain[:, :, :-6])) < 0.15


def test_positive_angles_fall_towards_the_right():
    rain = layer(density=0.005, length=16, angle=45)
    right, left = (rain[:, 4:, 4:], rain[:, :-4, :-4]), (rain[:, 4:, :-4], rain[:, :-4, 4:])
    assert correlation(*right) > 0.4
    assert abs(correlation(*left)) < 0.15


def test_rain_is_as_dense_at_borders():
    wide = Rain(density=0.01, length=20, angle=0, strength=1)
    rain = wide(tf.zeros((64, 24, 24, 1)), [1, 2]).numpy()
    assert rain[:, :3].mean() == pytest.approx(rain[:, 9:15].mean(), rel=0.15)


def test_streaks_add_up_to_white_at_most():
    rainy = Rain(density=0.5, strength=1)(BLACK + 0.5, [1, 2]).numpy()
    assert rainy.max() == 1


def test_every_sample_has_rain_of_its_own():
    rain = layer(density=(0, 0.05), length=(4, 30), angle=(-60, 60), strength=(0.1, 1))
    assert len({image.tobytes() for image in rain}) == 4


def test_rain_is_a_function_of_its_seed_inside_a_pipeline():
    target = tf.random.stateless_uniform((2, 32, 32, 3), [0, 1])
    degrade = Rain()
    data = tf.data.Dataset.range(2).map(lambda step: degrade(target, tf.stack([7, step])))
    first, again = list(data), list(data)
    assert data.element_spec.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    "options", [{"density": 1.5}, {"length": (9, 3)}, {"angle": 100}, {"strength": -0.1}]
)
def test_wrong_options_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be a number of"):
        Rain(**options)
