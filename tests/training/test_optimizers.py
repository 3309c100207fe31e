import keras
import numpy as np
import pytest

from keras_rdanet.training.optimizers import Adam, AdamW, L2Adam


def average_after(make, steps, momentum=0.999):
    """The average of a weight that one unit is taken from at every step, starting at 0."""
    variable = keras.Variable(np.zeros(1, np.float32))
    optimizer = make(learning_rate=1.0, use_ema=True, ema_momentum=momentum, epsilon=1e-12)
    optimizer.build([variable])
    seen = []
    for _ in range(steps):
        optimizer.apply([keras.ops.ones(1)], [variable])
        seen.append(float(variable.value[0]))
    return seen, float(optimizer._model_variables_moving_average[0][0])


@pytest.mark.parametrize("make", [Adam, lambda **kw: AdamW(weight_decay=0.0, **kw), L2Adam])
def test_the_average_of_a_short_run_is_of_its_last_weights(make):
    seen, average = average_after(make, steps=30)
    expected = 0.0
    for step, value in enumerate(seen):
        momentum = min(0.999, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * value
    assert average == pytest.approx(expected, rel=1e-4)
    assert average < -18  # Keras' own is -1.4 here: that of the first weights


def test_the_average_has_its_momentum_in_the_end():
    seen, average = average_after(Adam, steps=30, momentum=0.5)
    expected = 0.0
    for step, value in enumerate(seen):
        momentum = min(0.5, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * value
    assert average == pytest.approx(expected, rel=1e-4)
