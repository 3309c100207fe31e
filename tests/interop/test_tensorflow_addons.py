"""Going on training one of our networks with what teams on tensorflow-addons have."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_addons as tfa


class Denoiser(tf.keras.Model):
    """A SavedModel of ours as a Keras 2 model."""

    def __init__(self, folder):
        super().__init__()
        self.network = tf.saved_model.load(str(folder))
        self.parameters = self.network.trainable_variables

    def call(self, degraded):
        return self.network.serving_default(degraded)["restored"]


@pytest.fixture
def pairs():
    """Noisy and clean patches `(8, 16, 16, 1)`: gradients of light with noise of sigma 25."""
    random = np.random.default_rng(0)
    slopes = random.uniform(-0.3, 0.3, (8, 1, 1, 1))
    clean = 0.5 + slopes * np.linspace(-1, 1, 16)[None, :, None, None] * np.ones((1, 1, 16, 1))
    noisy = clean + random.normal(0, 25 / 255, clean.shape)
    return noisy.astype(np.float32), clean.astype(np.float32)


def test_fit_improves_it_with_an_optimizer_and_a_metric_of_tensorflow_addons(denoiser, pairs):
    folder, expected = denoiser
    model = Denoiser(folder)
    np.testing.assert_allclose(model(expected["degraded"]), expected["restored"], rtol=0, atol=1e-5)
    before = [variable.numpy() for variable in model.trainable_variables]
    assert len(before) == len(model.parameters) > 0
    optimizer = tfa.optimizers.LazyAdam(learning_rate=1e-3)
    model.compile(optimizer, "mae", metrics=[RSquareOfPixels()])
    history = model.fit(*pairs, batch_size=4, epochs=6, shuffle=False, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert history["r_square"][-1] > history["r_square"][0]
    changed = [
        np.any(old != new.numpy())
        for old, new in zip(before, model.trainable_variables, strict=True)
    ]
    # A gate with a single hidden unit may be switched off by its ReLU.
    assert sum(changed) >= len(changed) - 2


class RSquareOfPixels(tfa.metrics.RSquare):
    """RSquare over the pixels of a batch."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        flat = (tf.reshape(y_true, [-1, 1]), tf.reshape(y_pred, [-1, 1]))
        return super().update_state(*flat, sample_weight)


def test_what_was_fine_tuned_is_saved_with_its_signatures(denoiser, pairs, tmp_path):
    model = Denoiser(denoiser[0])
    model.compile(tfa.optimizers.LAMB(1e-2), "mse")
    model.fit(*pairs, epochs=2, verbose=0)
    expected = model(pairs[0])
    signatures = model.network.signatures
    tf.saved_model.save(model.network, str(tmp_path / "tuned"), signatures=signatures)
    again = tf.saved_model.load(str(tmp_path / "tuned"))
    restored = again.signatures["serving_default"](degraded=tf.constant(pairs[0]))["restored"]
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-6)
    old = tf.saved_model.load(str(denoiser[0])).signatures["serving_default"]
    assert np.abs(old(degraded=tf.constant(pairs[0]))["restored"] - restored).max() > 1e-4
