"""The input of an export: the network, and the pictures that verify and calibrate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_rdanet.data.pipeline import Degrade, batches
from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation import stress_tests
from keras_rdanet.export.quantization.calibration import TILE, CalibrationTiles, calibration_tiles
from keras_rdanet.export.verification.comparison import Reference, crops
from keras_rdanet.image.io import PictureHeader
from keras_rdanet.image.source import Source
from keras_rdanet.inference.open import family_members, is_export, is_file
from keras_rdanet.inference.tiling import NONLOCAL_TILE
from keras_rdanet.models import registry
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.runtimes.metadata import ExportMetadata, describe
from keras_rdanet.tasks import registry as registry_of_tasks
from keras_rdanet.tasks.base import EvaluationProtocol

SIZE = 256


@dataclass(frozen=True)
class ExportJob:
    """A network to be exported.

    Args:
        model: The network, a `RestorationModel` in float32.
        metadata: Metadata of its files; of variant `"fp32"` and of any size.
        reference: Outputs of the network for the pictures that verify its files.
        protocol: Description of how these pictures were degraded and scored.
        size: Height and width in pixels of files whose input is fixed.
        trained: Whether the network was trained. The PSNR of one that was not
            means nothing, so it is not compared with a tolerance.
        calibration: Tiles on which quantizers measure ranges; `None` without pictures.
        calibration_folder: The folder of clean pictures that these were cut from.
        shared: Results that writers keep of one variant to make the next from.
    """

    model: Any
    metadata: ExportMetadata
    reference: Reference
    protocol: Mapping
    size: int
    trained: bool = True
    calibration: CalibrationTiles | None = None
    calibration_folder: Path | None = None
    shared: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def fine_tuned(self, steps: int) -> ExportJob:
        """Return a job with weights that lose less in eight bits, and the same reference."""
        from keras_rdanet.export.quantization.fine_tuning import fine_tune

        patches = batches(
            _source(self.calibration_folder),
            patch_size=TILE * self.model.scale,
            batch_size=4,
            channels=self.model.channels,
            degrade=calibrating_degradation(self.metadata.task, self.model.scale),
            seed=0,
            cache="none",
        )
        model = fine_tune(self.model, patches, steps)
        return replace(self, model=model, metadata=replace(self.metadata, fine_tuned=steps))


@dataclass(frozen=True)
class DrawnScene:
    """The scene of the stress tests as a source of one picture, repeated to 1152x960 pixels."""

    paired = False

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        """Return the name of the scene in messages."""
        return "drawn scene"

    def headers(self, index: int) -> tuple[PictureHeader]:
        """Return the header it would have as a file."""
        return (PictureHeader(960, 1152, 3, np.dtype(np.uint8), has_alpha=False),)

    def read(self, index: int) -> tuple[np.ndarray]:
        """Return `(960, 1152, 3)` uint8."""
        (clean,) = (case.image for case in stress_tests.cases(3) if case.name == "clean")
        return (np.tile(np.rint(255 * clean).astype(np.uint8), (6, 6, 1)),)


def prepare_job(
    model: Any,
    *,
    calibration: str | Path | None = None,
    test: str | Path | None = None,
    channels: int | None = None,
    size: int | None = None,
    pictures: int = 8,
) -> ExportJob:
    """Load a network and the pictures that verify and calibrate its files.

    Args:
        model: Model, as `keras_rdanet.export.exporter.export` takes it.
        calibration: Folder of clean pictures to cut calibration tiles from.
        test: Folder of clean pictures to verify with; by default a drawn scene.
        channels: Number of channels, `1` or `3`, of the network of a family; by default that of
            the pictures of `test`.
        size: Height and width of fixed inputs in pixels, see `job_of`.
        pictures: Largest number of pictures to verify with.

    Raises:
        ValueError: if there is no such network, the model does not know its
            preset, or the pictures do not suit it.
        TypeError: if `model` is neither a name, a path nor a model.
        OSError: if a file cannot be read.
    """
    if not isinstance(model, RestorationModel):
        model = registry.load(_member(model, channels, _source(test)), precision="float32")
    metadata = describe(model)
    if channels not in (None, model.channels):
        raise ValueError(f"{metadata.name} has {model.channels} channels, not {channels}.")
    return job_of(
        _in_float32(model),
        metadata,
        calibration=calibration,
        test=test,
        size=size,
        pictures=pictures,
    )


def job_of(
    model: RestorationModel,
    metadata: ExportMetadata,
    *,
    calibration: str | Path | None = None,
    test: str | Path | None = None,
    size: int | None = None,
    pictures: int = 8,
    trained: bool = True,
) -> ExportJob:
    """Prepare the pictures that verify and calibrate the files of a network.

    Args:
        model: The network, in float32.
        metadata: Metadata of its files; of variant `"fp32"` and of any size.
        calibration: Folder of clean pictures to cut calibration tiles from.
        test: Folder of clean pictures to verify with; by default a drawn scene.
        size: Height and width in pixels of files whose input is fixed, and of
            the crops that are compared; by default `SIZE`, or `NONLOCAL_TILE`
            for networks that compare all positions.
        pictures: Largest number of pictures to verify with.
        trained: Whether the network was trained.

    Raises:
        ValueError: if the network does not take that size, or the pictures are
            too small or too few.
        OSError: if a picture cannot be read.
    """
    size = size or (NONLOCAL_TILE if model.support == "nonlocal" else SIZE)
    if size % model.multiple or size < model.min_size:
        raise ValueError(
            f"{metadata.name} takes sizes from {model.min_size} in steps of {model.multiple}, "
            f"not {size}."
        )
    function = model.image_function(metadata.name)
    protocol = verification_protocol(metadata.task, model.scale)
    samples = crops(protocol, _source(test), function, size, pictures)
    tiles = None
    if calibration is not None:
        # Networks that compare all positions are traced differently for another number of them.
        side = size if model.support == "nonlocal" else TILE
        tiles = calibration_tiles(
            folder(calibration),
            channels=model.channels,
            degrade=calibrating_degradation(metadata.task, model.scale),
            size=side * model.scale,
        )
    return ExportJob(
        model=model,
        metadata=metadata,
        reference=Reference(function, samples, protocol.scoring),
        protocol={
            "pictures": "a drawn scene" if test is None else Path(test).resolve().name,
            "crops": f"{len(samples)} of {size}x{size} pixels, from the middle",
            **protocol.describe(model.channels),
        },
        size=size,
        trained=trained,
        calibration=tiles,
        calibration_folder=None if calibration is None else Path(calibration),
    )


def _member(name, channels, source):
    """The network of a family that is meant, or the name as it is."""
    if is_file(name):
        if is_export(name):
            raise ValueError(f"{name} is an export already; export the weights it was made from.")
        return name
    members = family_members(name)
    if members is None:
        return name
    return members[(channels or source.headers(0)[-1].channels) == 3]


def _in_float32(model):
    """The model, or what it computes in mixed precision, whose weights are float32 as well."""
    if model.dtype_policy.name == "float32":
        return model
    copy = registry.build(model.origin.preset, precision="float32", **model.origin.overrides)
    copy.set_weights(model.get_weights())
    return copy


def _source(pictures: str | Path | None) -> Source:
    return DrawnScene() if pictures is None else folder(pictures)


def verification_protocol(task: str | None, scale: int = 1) -> EvaluationProtocol:
    """Return how pictures are degraded and scored to verify a network for `task`."""
    return registry_of_tasks.usual(task, scale).verification(scale).protocol()


def calibrating_degradation(task: str | None, scale: int = 1) -> Degrade:
    """Return how the pictures that calibrate a network for `task` are degraded."""
    return registry_of_tasks.usual(task, scale).calibration(scale)
