"""The base class of all networks."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, Literal

import keras
import numpy as np

from keras_rdanet.inference.image_function import ImageFunction, traits
from keras_rdanet.layers.native import native_forms
from keras_rdanet.weights import catalogue
from keras_rdanet.weights.origin import Origin


@contextlib.contextmanager
def _channels_last() -> Iterator[None]:
    """Make layers for NHWC images, whatever the global `image_data_format` is."""
    before = keras.config.image_data_format()
    if before == "channels_last":
        yield
        return
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


class RestorationModel(keras.Model):
    """A functional graph from degraded images to restored ones.

    A subclass builds its graph in `__init__`, lists its published
    configurations in `PRESETS` and says how it may be tiled.

    Attributes:
        PRESETS: Preset name -> constructor arguments.
        SMALL: Constructor arguments of the smallest network of the class that
            shows everything; tests use it.
        AS_PUBLISHED: Arguments of the original code, where presets may differ.
        support, radius, multiple, min_size, scale: Properties of the function, see `ImageFunction`.
        bytes_per_pixel: Working memory for an input pixel in float32, measured.
        origin: The preset, the weights and their task; `None` for a network
            that was made by its constructor instead of from a preset.
    """

    PRESETS: dict[str, dict] = {}
    SMALL: dict = {}
    AS_PUBLISHED: dict = {}
    support: Literal["local", "global_pool", "nonlocal"] = "local"
    radius: int | None = None
    multiple = 1
    min_size = 1
    scale = 1
    bytes_per_pixel: int | None = None
    channels: int
    origin: Origin | None = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        construct = cls.__init__

        @functools.wraps(construct)
        def __init__(self, *args, **kwargs):
            with _channels_last():
                construct(self, *args, **kwargs)

        # Keras tells models that are made by inputs and outputs from ours by the signature.
        vars(__init__)["__signature__"] = inspect.signature(construct)
        cls.__init__ = __init__  # type: ignore[method-assign]

    @classmethod
    def from_preset(cls, name: str, *, load_weights: bool = True, **overrides):
        """Make the network of a preset, with trained weights where they ship.

        Args:
            name: Name of a preset in `PRESETS`, with or without the tag of its weights.
            load_weights: Whether to load the trained weights; a preset without
                any comes with fresh ones either way.
            **overrides: Arguments that differ from the preset.

        Raises:
            ValueError: if the class has no such preset or argument, there are
                no weights of that tag, or an override makes a network that
                the weights do not fit.
            OSError: if the weights cannot be read.
        """
        preset = name.partition(".")[0]
        model = cls._fresh(preset, overrides)
        entry = catalogue.find(name) if load_weights else None
        if entry is None:
            if load_weights and name != preset:
                raise ValueError(
                    f"No weights called {name!r} ship with the package; take {preset!r}."
                )
            return model
        if model.origin.overrides != entry.overrides:
            raise ValueError(
                f"The weights {entry.name} are those of {preset} without {sorted(overrides)}; "
                "take the preset as it is, or `load_weights=False` for a fresh network."
            )
        catalogue.load_weights(model, entry)
        return model

    @classmethod
    def _fresh(cls, name, overrides):
        """The network of a preset with fresh weights and an origin."""
        if name not in cls.PRESETS:
            raise ValueError(
                f"{cls.__name__} has no preset {name!r}; known: {sorted(cls.PRESETS)}."
            )
        preset = cls.PRESETS[name]
        unknown = sorted(set(overrides) - set(preset) - {"initialization", "name"})
        if unknown:
            raise ValueError(f"Preset {name!r} takes no {unknown}; known: {sorted(preset)}.")
        model = cls(**{**preset, **overrides})
        differing = {k: v for k, v in overrides.items() if k in preset and v != preset[k]}
        model.origin = Origin(name, differing)
        return model

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, and what the network is."""
        config = super().get_config()
        return config if self.origin is None else {**config, "origin": asdict(self.origin)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a network from the result of `get_config`."""
        config = dict(config)
        origin = config.pop("origin", None)
        model = super().from_config(config, custom_objects)
        model.origin = origin and Origin(**origin)
        return model

    @property
    def stages(self):
        """Names of the supervised outputs, last one last; empty for a single output."""
        return list(self.output) if isinstance(self.output, dict) else []

    def targets(self, target):
        """Return `target` in the structure of the output: once for each supervised stage."""
        if not self.stages or isinstance(target, dict):
            return target
        return dict.fromkeys(self.stages, target)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the loss as `keras.Model` does; all stages may share one target."""
        return super().compute_loss(x, self.targets(y), y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the metrics as `keras.Model` does; all stages may share one target."""
        return super().compute_metrics(x, self.targets(y), y_pred, sample_weight)

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, **options):
        """Configure training as `keras.Model.compile` does; stages share a single loss.

        Args:
            optimizer: Optimizer, as Keras takes it.
            loss: Loss, as Keras takes it. For a network with several supervised stages, a single
                loss is computed on each of them and added up.
            loss_weights: Weights of the losses, as Keras takes them.
            metrics: Metrics, as Keras takes them; a list of metrics is computed on the last stage.
            **options: The other arguments of `keras.Model.compile`.
        """
        if self.stages and isinstance(loss, str | Callable):
            loss = dict.fromkeys(self.stages, loss)
        if self.stages and isinstance(metrics, list | tuple):
            metrics = {self.stages[-1]: list(metrics)}
        super().compile(optimizer, loss, loss_weights, metrics, **options)

    def compile_from_config(self, config):
        """Compile a network from a `.keras` file with the arguments it was saved with."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def quantize(self, *args, **kwargs):
        """Refuse: networks are quantized when they are exported.

        Raises:
            ValueError: always; it names what to call instead.
        """
        raise ValueError(
            "Networks are quantized when they are exported: keras_rdanet.export(model, folder, "
            "variants=['int8'], calibration='photos/')."
        )

    def make_train_function(self, force=False):
        """Make the function of a training step; the weights then no longer match any file."""
        if self.origin is not None:
            self.origin = replace(
                self.origin, weights=None, sha256=None, description=None, training_data=None
            )
        return super().make_train_function(force)

    def image_function(self, name=None):
        """This network as a function on NumPy batches; the last stage is the result.

        Args:
            name: Name of the function in reports; by default the name of its weights or its
                preset.

        Returns:
            An `ImageFunction` that computes in this model's precision.
        """
        last = self.stages[-1] if self.stages else None

        def restore(images):
            with native_forms():
                outputs = self.predict_on_batch(np.asarray(images, np.float32))
            return np.asarray(outputs[last] if last else outputs, np.float32)

        return ImageFunction(
            function=restore,
            name=name or (self.origin.name if self.origin else self.name),
            precision=self.dtype_policy.compute_dtype,
            origin=self.origin,
            **traits(self),
        )
