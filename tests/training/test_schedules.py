import keras
import numpy as np
import pytest

from keras_rdanet.training.schedules import CosineWithWarmup, MultiStep


def test_multistep_halves_at_the_milestone_itself():
    schedule = MultiStep(1e-4, [100, 200], 0.5)
    rates = [float(schedule(step)) for step in (0, 99, 100, 199, 200, 10**6)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5, 2.5e-5], rtol=1e-6)


def test_real_noise_recipe_of_the_paper():
    # Values of the spec: peak after three epochs, 3.27e-5 in the last of 120.
    schedule = CosineWithWarmup(2e-4, 1e-6, warmup=3, period=157, steps_per_epoch=10)
    rates = [float(schedule((epoch - 1) * 10 + 9)) for epoch in (1, 2, 3, 4, 120)]
    np.testing.assert_allclose(rates, [2e-4 / 3, 4e-4 / 3, 2e-4, 2e-4, 3.27e-5], rtol=2e-3)


def test_rate_is_constant_within_an_epoch():
    schedule = CosineWithWarmup(1.0, 0.0, warmup=0, period=10, steps_per_epoch=4)
    assert len({float(schedule(step)) for step in range(4, 8)}) == 1


def test_minimum_is_kept_after_the_period():
    schedule = CosineWithWarmup(1.0, 0.1, warmup=2, period=5)
    assert float(schedule(7)) == pytest.approx(0.1)
    assert float(schedule(1000)) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", [MultiStep(1e-3, [5]), CosineWithWarmup(1e-3, 0.0, 2, 9)])
def test_schedule_survives_serialisation(schedule):
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert copy.get_config() == schedule.get_config()
