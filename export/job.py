"""What an export starts from: the network, and the pictures that prove and calibrate it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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
from keras_rdanet.runtimes.metadata import ExportMetadata, describe
from keras_rdanet.tasks import registry as registry_of_tasks
from keras_rdanet.tasks.base import EvaluationProtocol

SIZE = 256


@dataclass(frozen=True)
class Subject:
    """A network to be exported.

    Args:
        model: In float32, a `RestorationModel`.
        metadata: Of its float32 exports of any size.
        reference: What it makes of the pictures that prove its exports.
        protocol: How these pictures were degraded and scored, in words.
        size: Height and width of files whose input is fixed.
        calibration: What quantizers learn ranges from, if there is any.
        data: The folder of clean pictures that it was cut from.
    """

    model: Any
    metadata: ExportMetadata
    reference: Reference
    protocol: Mapping
    size: int
    calibration: CalibrationTiles | None = None
    data: Path | None = None

    @cached_property
    def tflite(self):
        """What writes the `.tflite` files, which share most of the work."""
        from keras_rdanet.export.formats.tflite import TFLiteExporter

        return TFLiteExporter(
            self.model, self.metadata, size=self.size, calibration=self.calibration
        )

    def fine_tuned(self, steps: int) -> "Subject":
        """Return this with weights that suffer less from eight bits; what proves them stays.

        Raises:
            ValueError: if there are no pictures to learn from.
        """
        from keras_rdanet.export.quantization.fine_tuning import fine_tune

        if self.data is None:
            raise ValueError("Fine-tuning learns from pictures; give a folder of them.")
        patches = batches(
            folder(self.data),
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
        """Return what messages call it."""
        return "drawn scene"

    def headers(self, index: int) -> tuple[PictureHeader]:
        """Return the header it would have as a file."""
        return (PictureHeader(960, 1152, 3, np.dtype(np.uint8), has_alpha=False),)

    def read(self, index: int) -> tuple[np.ndarray]:
        """Return `(960, 1152, 3)` uint8."""
        (clean,) = (case.image for case in stress_tests.cases(3) if case.name == "clean")
        return (np.tile(np.rint(255 * clean).astype(np.uint8), (6, 6, 1)),)


def subject(
    name: str | Path,
    *,
    data: Path | None = None,
    test: Path | None = None,
    channels: int | None = None,
    **options,
) -> Subject:
    """Load a network and the pictures that prove its exports.

    Args:
        name: As in `registry.load`, or of a family.
        data, test: As in `subject_of`.
        channels: `1` or `3`, which network of a family; as the pictures are
            if not given.
        **options: Of `subject_of`.

    Raises:
        ValueError: if there is no such network, the pictures do not suit it,
            or calibration lacks pictures.
        OSError: if a file cannot be read.
    """
    name = _member(name, channels, _source(test or data))
    model = registry.load(name)
    if channels not in (None, model.channels):
        raise ValueError(f"{name} has {model.channels} channels, not {channels}.")
    return subject_of(model, describe(model), data=data, test=test, **options)


def subject_of(
    model,
    metadata: ExportMetadata,
    *,
    data: Path | None = None,
    test: Path | None = None,
    size: int | None = None,
    pictures: int = 8,
    calibrate: bool = False,
) -> Subject:
    """Prepare the pictures that prove the exports of a network.

    Args:
        model: A `RestorationModel` in float32.
        metadata: Of it, any size, `"fp32"`.
        data: Folder of clean pictures to calibrate with.
        test: Folder of clean pictures to prove with; `data` if not given, and
            a drawn scene without either.
        size: Height and width of files whose input is fixed, and of what they
            are proven on; by default `SIZE`, or `NONLOCAL_TILE` for networks
            that compare all positions.
        pictures: How many to prove with, at most.
        calibrate: Whether to prepare calibration as well.

    Raises:
        ValueError, OSError: as in `subject`.
    """
    size = size or (NONLOCAL_TILE if model.support == "nonlocal" else SIZE)
    if size % model.multiple or size < model.min_size:
        raise ValueError(
            f"{metadata.name} takes sizes from {model.min_size} in steps of {model.multiple}, "
            f"not {size}."
        )
    if calibrate and data is None:
        raise ValueError("Calibration learns ranges from pictures; give a folder of them.")
    function = model.image_function(metadata.name)
    protocol = proving_protocol(metadata.task, model.scale)
    proving = test or data
    samples = crops(protocol, _source(proving), function, size, pictures)
    calibration = None
    if calibrate:
        # What compares all positions is traced otherwise for another number of them.
        side = size if model.support == "nonlocal" else TILE
        calibration = calibration_tiles(
            folder(data),
            channels=model.channels,
            degrade=calibrating_degradation(metadata.task, model.scale),
            size=side * model.scale,
        )
    return Subject(
        model=model,
        metadata=metadata,
        reference=Reference(function, samples, protocol.scoring),
        protocol={
            "pictures": "a drawn scene" if proving is None else proving.resolve().name,
            "crops": f"{len(samples)} of {size}x{size} pixels, from the middle",
            **protocol.describe(model.channels),
        },
        size=size,
        calibration=calibration,
        data=data,
    )


def proving_protocol(task: str | None, scale: int = 1) -> EvaluationProtocol:
    """How pictures are degraded to prove exports of a network for `task`; noise if unknown."""
    return registry_of_tasks.usual(task, scale).verification(scale).protocol()


def calibrating_degradation(task: str | None, scale: int = 1) -> Degrade:
    """What the pictures that a quantizer learns ranges from are degraded by."""
    return registry_of_tasks.usual(task, scale).calibration(scale)


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


def _source(pictures: Path | None) -> Source:
    return DrawnScene() if pictures is None else folder(pictures)
