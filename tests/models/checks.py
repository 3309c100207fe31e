"""Checks that every network must pass; the tests of a network inherit them."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_rdanet.image.geometry import pad_to_multiple
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.models import registry
from keras_rdanet.weights import store


def image(height, width, channels=1, *, batch=1, seed=0):
    """Random images in [0, 1]."""
    return np.random.default_rng(seed).random((batch, height, width, channels), np.float32)


def outputs(model, images):
    """The outputs of a network by stage; `""` is the output of a network without stages."""
    given = model(images)
    given = given if isinstance(given, dict) else {"": given}
    return {stage: ops.convert_to_numpy(output) for stage, output in given.items()}


def restore(model, images):
    """The last output of a network."""
    return list(outputs(model, images).values())[-1]


def silence(model, *names):
    """Make layers give zeros."""
    for name in names:
        layer = model.get_layer(name)
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])


def liven(model, seed=0):
    """Random weights with which signals keep their size and no ReLU of a gate is off."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        values = rng.normal(size=shape) * max(np.prod(shape[:-1]), 16) ** -0.5
        if variable.path.endswith("squeeze/bias"):
            values += 2
        if "sab/conv" in variable.path:
            values = np.abs(values)
        variable.assign(values)
    return model


OTHER_BACKEND = """
import sys, numpy, keras
import keras_rdanet.models
model = keras.models.load_model(sys.argv[1])
output = model(numpy.load(sys.argv[2]))
restored = list(output.values())[-1] if isinstance(output, dict) else output
numpy.save(sys.argv[3], keras.ops.convert_to_numpy(restored))
"""


class NetworkChecks:
    """Checks of one network.

    Attributes:
        network: Class of the network.
        parameters: Preset -> number of parameters, where one is published.
        unlike: Arguments that differ from every preset, to be saved and loaded.
        traits: Expected properties of the `image_function` of the small network.
        learning: Arguments with which every weight gets a gradient.
        inner: A layer that computes in half precision.
        half: Largest difference between half precision and float32.
        refused: Pairs of wrong arguments and the message.
    """

    network: type
    parameters: dict[str, int]
    unlike: dict
    traits: dict
    learning: dict = {}
    inner: str
    half = 0.02
    refused: list[tuple[dict, str]]

    def small(self, **options):
        """The small network of the class, with some arguments replaced."""
        return self.network(**{**self.network.SMALL, **options})

    def sizes(self, model):
        """Some sizes that the network takes, the smallest first; three of them are not square."""
        low, step = model.min_size, model.multiple
        return [(low, low), (low, low + 3 * step), (low + step, low), (low + 5 * step, low + step)]

    def test_presets_have_as_many_parameters_as_published(self):
        for preset, count in self.parameters.items():
            assert self.network.from_preset(preset).count_params() == count, preset

    def test_the_registry_knows_every_preset(self):
        path = f"{self.network.__module__}:{self.network.__name__}"
        known = [name for name, target in registry.PRESETS.items() if target == path]
        assert known == list(self.network.PRESETS)

    def test_small_names_every_argument(self):
        for preset in self.network.PRESETS.values():
            assert self.network.SMALL.keys() == preset.keys()

    def test_wrong_arguments_are_named(self):
        for options, message in self.refused:
            with pytest.raises(ValueError, match=message):
                self.small(**options)

    def test_reloading_keeps_arguments_and_output(self, tmp_path):
        model = self.small(**self.unlike)
        model.save(tmp_path / "model.keras")
        reloaded = keras.models.load_model(tmp_path / "model.keras")
        assert reloaded.get_config() == model.get_config()
        assert all(model.get_config()[name] == value for name, value in self.unlike.items())
        images = image(*self.sizes(model)[-1], model.channels)
        np.testing.assert_array_equal(restore(reloaded, images), restore(model, images))

    def test_weights_are_named_by_their_place(self):
        model, again = self.small(), self.small()
        paths = list(store.variables_by_path(model))
        assert len(paths) == len(model.weights)
        assert paths == list(store.variables_by_path(again))
        automatic = ("conv2d", "convolution", "prelu_", "dense_attention_block")
        assert not [path for path in paths if path.startswith(automatic)]

    def test_every_size_gives_a_picture_of_its_scale(self):
        """Also in a graph that was traced for other sizes before."""
        model = self.small()
        function = model.image_function()
        assert self.traits.items() <= vars(function).items()
        for height, width in self.sizes(model):
            images = image(height, width, model.channels)
            given = outputs(model, images)
            assert list(given) == (model.stages or [""])
            for output in given.values():
                assert output.dtype == np.float32
                assert output.shape == (
                    1,
                    height * model.scale,
                    width * model.scale,
                    model.channels,
                )
            expected = list(given.values())[-1]
            scale = np.ptp(expected)
            np.testing.assert_allclose(function(images), expected, atol=1e-5 * scale)

    def test_pictures_of_odd_size_are_restored_at_their_size(self):
        model = self.small()
        picture = image(model.min_size + 5, model.min_size + 10, model.channels)[0]
        padded, (height, width) = pad_to_multiple(picture, model.multiple, model.min_size)
        whole = restore(model, padded[None])[0, : height * model.scale, : width * model.scale]
        restored = Restorer(model, tile="off")(picture)
        np.testing.assert_allclose(restored, whole, atol=1e-5 * np.ptp(whole))

    def test_images_of_a_batch_do_not_mix(self):
        model = liven(self.small())
        images = image(*self.sizes(model)[-1], model.channels, batch=3)
        together = outputs(model, images)
        for i in range(3):
            for stage, alone in outputs(model, images[i : i + 1]).items():
                atol = 1e-5 * np.ptp(alone)
                np.testing.assert_allclose(together[stage][i], alone[0], atol=atol)

    def test_what_is_pooled_or_compared_reaches_the_other_corner(self):
        """A local network does not see beyond its radius, the others see all."""
        model = liven(self.small())
        radius = model.radius or 15
        side = -(-(radius + 5) // model.multiple) * model.multiple
        images = image(side, side, model.channels)
        changed = images.copy()
        changed[0, 0, 0] += 3
        moved = restore(model, changed) != restore(model, images)
        far = moved[0, (radius + 1) * model.scale :, (radius + 1) * model.scale :]
        assert far.any() == (model.support != "local")
        assert moved.any()

    def test_every_weight_learns(self):
        model = liven(self.small(**self.learning))
        model.compile(keras.optimizers.SGD(1.0), self._loss(model), run_eagerly=True)
        before = model.get_weights()
        self._train(model)
        changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
        unmoved = [w.path for w, moved in zip(model.weights, changed, strict=True) if not moved]
        assert unmoved == []

    def test_training_lowers_the_loss(self):
        keras.utils.set_random_seed(0)
        model = self.small()
        model.compile(keras.optimizers.Adam(1e-3), self._loss(model), run_eagerly=True)
        losses = [self._train(model) for _ in range(3)]
        assert losses[2] < losses[0]

    def _loss(self, model):
        return dict.fromkeys(model.stages, "mse") or "mse"

    def _train(self, model):
        """Train for one step and return the loss."""
        height, width = self.sizes(model)[-1]
        images = image(height, width, model.channels)
        target = image(height * model.scale, width * model.scale, model.channels, seed=1)
        result = model.train_on_batch(images, dict.fromkeys(model.stages, target) or target)
        return float(np.ravel(result)[0])

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_mixed_precision_ends_in_float32_and_stays_close(self, precision):
        whole, half = self.small(), self._in(precision)
        half.set_weights(whole.get_weights())
        assert half.get_layer(self.inner).compute_dtype == precision
        images = image(*self.sizes(whole)[-1], whole.channels)
        expected = outputs(whole, images)
        for stage, output in outputs(half, images).items():
            assert output.dtype == np.float32
            np.testing.assert_allclose(output, expected[stage], atol=self.half)
        for level in (0, 1):
            flat = np.full((1, 64, 64, whole.channels), level, np.float32)
            assert all(np.isfinite(output).all() for output in outputs(half, flat).values())

    def _in(self, precision, **options):
        policy = "float32" if precision == "float32" else f"mixed_{precision}"
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return self.small(**options)
        finally:
            keras.config.set_dtype_policy(before)

    def test_a_global_channels_first_changes_nothing(self):
        model = liven(self.small())
        images = image(*self.sizes(model)[-1], model.channels)
        expected = restore(model, images)
        before = keras.config.image_data_format()
        keras.config.set_image_data_format("channels_first")
        try:
            other = liven(self.small())
            np.testing.assert_array_equal(restore(other, images), expected)
            np.testing.assert_array_equal(restore(model, images), expected)
            expected = model.image_function()(images)
            np.testing.assert_array_equal(other.image_function()(images), expected)
        finally:
            keras.config.set_image_data_format(before)

    def test_another_backend_gives_the_same(self, tmp_path):
        model = liven(self.small())
        images = image(*self.sizes(model)[-1], model.channels)
        model.save(tmp_path / "model.keras")
        np.save(tmp_path / "images.npy", images)
        other = "tensorflow" if keras.backend.backend() == "jax" else "jax"
        files = [str(tmp_path / name) for name in ("model.keras", "images.npy", "restored.npy")]
        command = [sys.executable, "-c", OTHER_BACKEND, *files]
        subprocess.run(command, env={**os.environ, "KERAS_BACKEND": other}, check=True)
        expected = restore(model, images)
        restored = np.load(files[-1])
        np.testing.assert_allclose(restored, expected, atol=1e-5 * np.ptp(expected))


class ResidualChecks(NetworkChecks):
    """Checks of a network that adds its input to what it predicts.

    Attributes:
        silent: Layers without which the output is the input.
        silent_in: Arguments of the network in which they are.
    """

    silent: tuple[str, ...]
    silent_in: dict = {}

    @pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
    def test_silent_layers_return_the_input(self, precision):
        model = self._in(precision, **self.silent_in)
        silence(model, *self.silent)
        images = image(*self.sizes(model)[-1], model.channels) * 3 - 1  # not clipped either
        for output in outputs(model, images).values():
            np.testing.assert_array_equal(output, images)
