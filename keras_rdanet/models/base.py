"""What all networks share."""

from dataclasses import replace
from typing import Literal

import keras
import numpy as np

from keras_rdanet.inference.image_function import ImageFunction, traits
from keras_rdanet.layers.native import native_forms
from keras_rdanet.weights.origin import Origin


class RestorationModel(keras.Model):
    """A functional graph from degraded images to restored ones.

    A subclass builds its graph in `__init__`, lists its published
    configurations in `PRESETS` and says how it may be tiled.

    Attributes:
        PRESETS: Preset name -> constructor arguments.
        SMALL: Constructor arguments of the smallest network of the class that
            shows everything; tests use it.
        AS_PUBLISHED: Arguments of the original code, where presets may differ.
        support, radius, multiple, min_size, scale: See `ImageFunction`.
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

    @classmethod
    def from_preset(cls, name, **overrides):
        """Build the configuration `name`, with some arguments replaced.

        Raises:
            ValueError: if the class has no such preset or argument.
        """
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

    @property
    def stages(self):
        """Names of the supervised outputs, last one last; empty for a single output."""
        return list(self.output) if isinstance(self.output, dict) else []

    def make_train_function(self, force=False):
        """Make what runs a step of training, after which the weights are in no file."""
        if self.origin is not None:
            self.origin = replace(
                self.origin, weights=None, sha256=None, description=None, training_data=None
            )
        return super().make_train_function(force)

    def image_function(self, name=None):
        """This network as a function on NumPy batches; the last stage is the result.

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
            name=name or self.name,
            precision=self.dtype_policy.compute_dtype,
            origin=self.origin,
            **traits(self),
        )
