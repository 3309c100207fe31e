"""What every exported file says about itself, so that it can be used without the network's code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from keras_rdanet import __version__
from keras_rdanet.files import file_sha256
from keras_rdanet.inference.image_function import ImageFunction, traits
from keras_rdanet.weights import catalogue

# The name of the text in every format: a file, a buffer or a property.
FILE_NAME = "keras_rdanet.json"

# Variant -> what it computes in on a CPU; fp16 is only stored in half precision,
# and int8_uint8 takes and gives the samples of 8-bit pictures.
VARIANTS = {
    "fp32": "float32",
    "fp16": "float32",
    "dynamic": "dynamic int8",
    "int8": "int8",
    "int8_uint8": "int8",
    "int16x8": "int16x8",
}


def _check_variant(variant: str) -> str:
    if variant not in VARIANTS:
        raise ValueError(f"must be one of {', '.join(VARIANTS)}, got {variant!r}")
    return variant


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class ExportMetadata:
    """An exported network in words and numbers.

    Args:
        preset: Name of the network's configuration.
        overrides: Constructor arguments that differ from the preset.
        weights: Full name of the weights in the catalogue, or of their file;
            `None` for a network that was not trained.
        sha256: Of the weights file, in hexadecimal; `None` without weights.
        task: What the weights were trained for, a task of
            `keras_rdanet.evaluation.tasks`; `None` if that is not known.
        terms: Under which the weights may be used, if known.
        channels, scale, support, radius, multiple, min_size, tile_shape,
            bytes_per_pixel: See `ImageFunction`.
        variant: One of `VARIANTS`.
        version: Of keras-rdanet that wrote the file.
        fine_tuned: Steps that the weights were trained for after `weights`, to
            suffer less from eight bits; 0 for the weights as they are.
    """

    preset: str
    overrides: dict[str, Any]
    weights: str | None
    sha256: str | None
    task: str | None
    terms: str | None
    channels: Literal[1, 3]
    scale: int
    support: Literal["local", "global_pool", "nonlocal"]
    radius: int | None
    multiple: int
    min_size: int
    tile_shape: tuple[int, int] | None
    bytes_per_pixel: int | None
    variant: Annotated[str, AfterValidator(_check_variant)]
    version: str
    fine_tuned: int = 0

    @property
    def name(self) -> str:
        """What reports call the network: its weights, or its preset without any."""
        return self.weights or self.preset

    def to_json(self) -> str:
        """Return this as text, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)


_ADAPTER = TypeAdapter(ExportMetadata)


def from_json(text: str | bytes) -> ExportMetadata:
    """Read what `to_json` wrote.

    Raises:
        ValueError: if a key is missing, unknown or holds something else.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise ValueError(
            f"This export was not written by keras-rdanet {__version__} or is damaged: "
            f"{where}: {first['msg']}."
        ) from error


def describe(
    model,
    preset: str,
    *,
    overrides: dict | None = None,
    weights: str | Path | None = None,
    task: str | None = None,
) -> ExportMetadata:
    """Describe a network that is about to be exported, in variant `"fp32"` and of any size.

    Args:
        model: The network, a `RestorationModel`.
        preset: Its preset.
        overrides: What differs from the preset.
        weights: Name in the catalogue or path of a `.safetensors` file its
            weights came from; `None` if it was not trained.
        task: What they were trained for.

    Raises:
        ValueError: if there are no such weights.
        OSError: if their file cannot be read.
    """
    return ExportMetadata(
        preset=preset,
        overrides=dict(overrides or {}),
        **_origin(weights),
        task=task,
        tile_shape=None,
        variant="fp32",
        **traits(model),
        version=__version__,
    )


def image_function(
    metadata: ExportMetadata,
    function: Callable[[np.ndarray], np.ndarray],
    name: str,
    precision: str | None = None,
) -> ImageFunction:
    """Make the image function of an exported file.

    Args:
        metadata: Of the file.
        function: Runs it, `(N, H, W, channels)` float32 to the restored
            images, float32.
        name: What reports call it.
        precision: What the caller asked for, if anything.

    Raises:
        ValueError: if the file computes in another precision.
    """
    own = VARIANTS[metadata.variant]
    if precision not in (None, own):
        raise ValueError(
            f"{name} computes in {own}, not in {precision}; leave the precision to it."
        )
    return ImageFunction(
        function=function,
        name=name,
        tile_shape=metadata.tile_shape,
        precision=own,
        task=metadata.task,
        **traits(metadata),
    )


def _origin(weights):
    """Where weights came from, as fields of `ExportMetadata`."""
    if weights is None:
        return {"weights": None, "sha256": None, "terms": None}
    if str(weights).endswith(".safetensors"):
        sha256 = file_sha256(weights)
        return {"weights": Path(weights).name, "sha256": sha256, "terms": None}
    entry = catalogue.resolve(str(weights))
    return {"weights": entry.name, "sha256": entry.sha256, "terms": entry.terms}
