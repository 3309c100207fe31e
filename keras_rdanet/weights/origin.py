"""What a model is: its network, where its weights came from and what they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Origin:
    """The identity of a model, carried by the Keras model and by its `ImageFunction`.

    Args:
        preset: Name of the network's configuration, as in `models.registry.PRESETS`.
        overrides: Constructor arguments that differ from the preset.
        weights: Full name of the weights in the catalogue, or the name of their
            file; `None` for weights that are in no file: fresh ones, or ones
            that were trained since they were loaded.
        sha256: Hash of the file that was opened, a weights file or an exported
            file, in hexadecimal; `None` without a file.
        task: Task that the weights were trained for, an identifier of
            `keras_rdanet.tasks.registry`; `None` if it is not known.
        description: Description of the weights in words.
        license: Conditions under which the weights may be used.
        training_data: The images that the weights were trained on, in words.

    Raises:
        ValueError: if something is of another type, as it may be in a damaged file.
    """

    preset: str
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    weights: str | None = None
    sha256: str | None = None
    task: str | None = None
    description: str | None = None
    license: str | None = None
    training_data: str | None = None

    def __post_init__(self):
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "overrides":
                fits = isinstance(value, Mapping)
            else:
                fits = isinstance(value, str) or (value is None and one.name != "preset")
            if not fits:
                raise ValueError(f"`{one.name}` of a model cannot be {value!r:.200}")

    @property
    def name(self) -> str:
        """The name of the model in reports: its weights, or its preset without any."""
        return self.weights or self.preset
