"""Metadata of exported files, with which a file can be used without the network's code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from keras_rdanet import __version__
from keras_rdanet.files import file_sha256
from keras_rdanet.inference.image_function import ImageFunction, traits
from keras_rdanet.weights.origin import Origin
from keras_rdanet.weights.store import told_apart

# The name of the text in every format: a file, a buffer or a property.
FILE_NAME = "keras_rdanet.json"

# Variant -> the precision it computes in on a CPU; fp16 is only stored in half precision,
# and int8_uint8 takes and gives the samples of 8-bit pictures.
VARIANTS = {
    "fp32": "float32",
    "fp16": "float32",
    "dynamic": "dynamic int8",
    "int8": "int8",
    "int8_uint8": "int8",
    "int16x8": "int16x8",
}

# Of a tile, in pixels.
MAX_SIDE = 2**14
# Small pictures are padded to such a size, so it must not ask for much memory.
MAX_PADDING = 2**10

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


def _known_task(task: Any) -> Any:
    """The identifier of a task, also for a name of version 0.1.0; `None` for unknown ones."""
    return told_apart(task)["task"] if isinstance(task, str) else task


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
        sha256: Hash of the weights file, in hexadecimal; `None` without weights.
        task: Task that the weights were trained for, an identifier of
            `keras_rdanet.tasks.registry`; `None` if it is not known.
        license: Conditions under which the weights may be used, if known;
            version 0.1.0 called them `terms`.
        channels, scale, support, radius, multiple, min_size, tile_shape,
            bytes_per_pixel: See `ImageFunction`.
        variant: Name of the variant, a key of `VARIANTS`.
        version: Version of keras-rdanet that wrote the file.
        fine_tuned: Number of steps of quantization-aware training that followed `weights`; 0 for
            the weights as they were published.
    """

    preset: str
    overrides: dict[str, Any]
    weights: str | None
    sha256: str | None
    task: Annotated[str | None, BeforeValidator(_known_task)]
    license: Annotated[str | None, Field(validation_alias=AliasChoices("license", "terms"))]
    channels: Literal[1, 3]
    scale: Annotated[int, Field(ge=1, le=16)]
    support: Literal["local", "global_pool", "nonlocal"]
    radius: Annotated[int, Field(ge=0, le=MAX_SIDE)] | None
    multiple: Annotated[int, Field(ge=1, le=MAX_PADDING)]
    min_size: Annotated[int, Field(ge=1, le=MAX_PADDING)]
    tile_shape: tuple[Side, Side] | None
    bytes_per_pixel: Annotated[int, Field(ge=1, le=2**24)] | None
    variant: Annotated[str, AfterValidator(_check_variant)]
    version: str
    fine_tuned: Annotated[int, Field(ge=0)] = 0

    @property
    def name(self) -> str:
        """The name of the network in reports: its weights, or its preset without any."""
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


def describe(model, preset: str | None = None, *, overrides: dict | None = None) -> ExportMetadata:
    """Describe a network that is about to be exported, in variant `"fp32"` and of any size.

    Args:
        model: The network, a `RestorationModel`, whose `origin` says the rest.
        preset: Preset of a network that has no `origin`.
        overrides: Arguments that differ from that preset.

    Raises:
        ValueError: if the network has no `origin` and no preset is given.
    """
    origin = model.origin if preset is None else Origin(preset, overrides or {})
    if origin is None:
        raise ValueError(
            f"{model.name} was made by its class, so nothing says how to make it again; make it "
            "with `keras_rdanet.create_model`."
        )
    return ExportMetadata(
        preset=origin.preset,
        overrides=dict(origin.overrides),
        weights=origin.weights,
        sha256=origin.sha256,
        task=origin.task,
        license=origin.license,
        tile_shape=None,
        variant="fp32",
        **traits(model),
        version=__version__,
    )


def image_function(
    metadata: ExportMetadata,
    function: Callable[[np.ndarray], np.ndarray],
    path: Path,
    precision: str | None = None,
) -> ImageFunction:
    """Make the image function of an exported file, whose `origin` has the hash of that file.

    Args:
        metadata: Metadata of the file.
        function: Function that runs the file, from `(N, H, W, channels)` float32 to the restored
            images, float32.
        path: Path of the file; reports call the function by its name.
        precision: Precision that the caller asked for, if any.

    Raises:
        ValueError: if the file computes in another precision.
        OSError: if the file cannot be read.
    """
    own = VARIANTS[metadata.variant]
    name = path.name
    if precision not in (None, own):
        raise ValueError(
            f"{name} computes in {own}, not in {precision}; leave the precision to it."
        )
    return ImageFunction(
        function=function,
        name=name,
        tile_shape=metadata.tile_shape,
        precision=own,
        origin=Origin(
            preset=metadata.preset,
            overrides=metadata.overrides,
            weights=metadata.weights,
            sha256=file_sha256(path),
            task=metadata.task,
            license=metadata.license,
        ),
        **traits(metadata),
    )
