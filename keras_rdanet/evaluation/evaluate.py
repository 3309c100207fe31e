"""Scoring a function from images to images on a test set."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_rdanet.evaluation.published_tiling import chop, four_tiles
from keras_rdanet.image.source import Source
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.open import is_file, open_model
from keras_rdanet.inference.self_ensemble import self_ensemble
from keras_rdanet.inference.tiling import choose_tile, restore_tiled
from keras_rdanet.profiling import environment
from keras_rdanet.tasks.base import EvaluationProtocol, Task
from keras_rdanet.tasks.registry import USUAL_ENLARGING
from keras_rdanet.tasks.scoring import Sample
from keras_rdanet.weights.origin import Origin


@dataclass(frozen=True)
class ImageScore:
    """The scores of one image.

    Args:
        name: Name of the image file.
        height: Height of the target, in pixels.
        width: Width of the target, in pixels.
        psnr_degraded: PSNR of the input in dB, scored like a restored image; an input that is
            smaller is enlarged by bicubic interpolation.
        ssim_degraded: SSIM of the input, scored in the same way.
        psnr: PSNR of the restored image, in dB.
        ssim: SSIM of the restored image.
        seconds: Time that restoring took, in seconds.
        psnr_b_degraded: PSNR-B of the input in dB, where the protocol has one.
        psnr_b: PSNR-B of the restored image in dB, where the protocol has one.
    """

    name: str
    height: int
    width: int
    psnr_degraded: float
    ssim_degraded: float
    psnr: float
    ssim: float
    seconds: float
    psnr_b_degraded: float | None = None
    psnr_b: float | None = None


@dataclass(frozen=True)
class Result:
    """The scores of one method on one test set.

    Args:
        method: Name of the method, and what identifies it.
        protocol: Description of the measurement, with the SHA-256 of the inputs.
        images: Scores of the images, one entry for each.
        environment: Machine and versions.
    """

    method: dict
    protocol: dict
    images: tuple[ImageScore, ...]
    environment: dict

    def mean(self, field: str) -> float:
        """Return the mean of a field of `ImageScore` over the images."""
        return float(np.mean([getattr(image, field) for image in self.images]))

    @property
    def has_psnr_b(self) -> bool:
        """Whether the protocol has a PSNR-B."""
        return self.images[0].psnr_b is not None

    @property
    def seconds_per_image(self) -> float:
        """The median: the first image, for which the network is traced, hardly moves it."""
        return float(np.median([image.seconds for image in self.images]))

    def as_dict(self) -> dict:
        """Return everything, for JSON."""
        fields = ["psnr_degraded", "ssim_degraded", "psnr", "ssim"]
        fields += ["psnr_b_degraded", "psnr_b"] * self.has_psnr_b
        return {
            "method": self.method,
            "protocol": self.protocol,
            "mean": {field: self.mean(field) for field in fields},
            "seconds_per_image": self.seconds_per_image,
            "images": [asdict(image) for image in self.images],
            "environment": self.environment,
        }


def open_identified(
    model: Any,
    *,
    precision: str | None = None,
    channels: int | None = None,
    trust: bool = False,
) -> tuple[ImageFunction, dict]:
    """Open a model under the name that reports should have.

    Args:
        model, precision, channels, trust: Arguments of `inference.open.open_model`.

    Returns:
        The function, called by the full name of its weights or the name of
        its file, and details for `evaluate`: the SHA-256 of the weights, and
        which output is scored.
    """
    function = open_model(model, precision=precision, channels=channels, trust=trust)
    origin = function.origin or Origin(function.name)
    name = function.name
    if isinstance(model, str | Path):
        name = Path(model).name if is_file(model) else origin.name
    details = {"sha256": origin.sha256, "output": "last stage"}
    return dataclasses.replace(function, name=name), details


def task_of(function: ImageFunction) -> str | None:
    """Return the task that a model was trained for; what enlarges is for super-resolution."""
    return USUAL_ENLARGING if function.scale > 1 else function.task


def evaluate(
    function: ImageFunction,
    protocol: EvaluationProtocol | Task,
    source: Source,
    *,
    tile: str | int = "off",
    ensemble: bool = False,
    limit: int | None = None,
    details: dict | None = None,
    on_image: Callable[[Sample, np.ndarray], None] | None = None,
    progress: bool = False,
) -> Result:
    """Score `function` on the images of `source`.

    Args:
        function: Function that restores images; they are loaded with its number of channels.
        protocol: Protocol that degrades and scores the images: a task at one level, such as
            `GaussianNoise(25)`, or an item of what `tasks.registry.protocols` returns.
        source: The files; see `keras_rdanet.data.sources`.
        tile: `"off"` for whole images; a number or `"auto"` as in
            `inference.tiling.choose_tile`; `"four"` for the seams of the
            original test code of TSP-RDANet (`published_tiling.four_tiles`), `"chop"`
            for those of PANet and PA-EDSR (`evaluation.published_tiling`).
        ensemble: Whether to average over the eight flips and turns.
        limit: Largest number of images to score.
        details: Further facts that identify the method: a hash, parameters.
        on_image: Function that is called with each sample and its restored image, unclipped.
        progress: Whether to show a bar.

    Raises:
        ValueError: if function or options do not suit the protocol, or an
            image cannot be read, restored or scored; the message names it. All
            headers are looked at before the first image is restored.
    """
    if isinstance(protocol, Task):
        protocol = protocol.protocol()
    _check_suits(function, protocol, source, tile, ensemble)
    protocol.check(source, limit)
    function = padding_cells(function, protocol)
    restoring = self_ensemble(function) if ensemble else function
    count = min(len(source), limit or len(source))
    digest = hashlib.sha256()
    scores, converted = [], 0
    samples = protocol.samples(source, function.channels, limit)
    for sample in tqdm(
        samples, total=count, desc=restoring.name, disable=not progress, leave=False
    ):
        digest.update(repr(sample.degraded.shape).encode() + sample.degraded.tobytes())
        converted += sample.converted
        try:
            start = time.perf_counter()
            restored = restore(restoring, sample.degraded, tile, protocol.chop_min_size)
            seconds = time.perf_counter() - start
            scores.append(_image_score(protocol.scoring, sample, restored, seconds))
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error
        if on_image is not None:
            on_image(sample, restored)
    return Result(
        method={
            "name": restoring.name if tile == "off" else f"{restoring.name}, tile {tile}",
            "channels": function.channels,
            "precision": function.precision,
            "tile": tile,
            "self_ensemble": ensemble,
            **(details or {}),
        },
        protocol={
            **protocol.describe(function.channels),
            "images": count,
            "images_converted": converted,
            "degraded_sha256": digest.hexdigest(),
        },
        images=tuple(scores),
        environment=environment(),
    )


def padding_cells(function: ImageFunction, protocol: EvaluationProtocol) -> ImageFunction:
    """Return a function that pads images by whole cells, where the protocol has cells."""
    if not protocol.cells:
        return function
    return dataclasses.replace(function, multiple=math.lcm(function.multiple, 2))


def restore(
    function: ImageFunction,
    image: np.ndarray,
    tile: str | int = "off",
    chop_min_size: int = EvaluationProtocol.chop_min_size,
) -> np.ndarray:
    """Restore one image `(H, W, C)` float32 as `tile` says (see `evaluate`); not clipped."""
    if tile == "four":
        return four_tiles(function, image[None])[0]
    scale = function.scale
    if tile == "chop":
        return chop(function, image[None], scale=scale, min_size=chop_min_size)[0]
    height, width = image.shape[:2]
    restored = np.empty((height * scale, width * scale, function.channels), np.float32)

    def write(top, rows):
        restored[top : top + len(rows)] = rows

    wanted = choose_tile(function, height, width, tile)
    used = restore_tiled(function, image, wanted, write=write)
    if used != wanted:  # Scores of whole and tiled images do not compare.
        raise ValueError(
            f"Not enough memory for tiles of {wanted} pixels; set `tile` to {used[0]}."
        )
    return restored


def _check_suits(function, protocol, source, tile, ensemble):
    """Raise a `ValueError` where the parts of a measurement do not belong together."""
    if function.scale != protocol.scale:
        raise ValueError(
            f"{function.name} enlarges images {function.scale} times; "
            f"the protocol ({protocol.name}) asks for {protocol.scale}."
        )
    if source.paired != protocol.paired:
        wanted = "pairs of degraded and clean images" if protocol.paired else "clean images"
        raise ValueError(f"The protocol ({protocol.name}) takes {wanted}.")
    if protocol.cells and function.channels == 1:
        raise ValueError(f"{function.name} is gray; a {protocol.name} is restored in RGB.")
    if protocol.cells and (ensemble or tile in ("four", "chop")):
        raise ValueError(
            f"A {protocol.name} must not be turned, as by a self-ensemble, nor cut inside its "
            f"cells, as by the tiles 'four' and 'chop'."
        )


def _image_score(scoring, sample: Sample, restored: np.ndarray, seconds: float) -> ImageScore:
    height, width = sample.target.shape[:2]
    before, after = scoring(sample.enlarged, sample.target), scoring(restored, sample.target)
    return ImageScore(
        name=sample.name,
        height=height,
        width=width,
        psnr_degraded=before.psnr,
        ssim_degraded=before.ssim,
        psnr=after.psnr,
        ssim=after.ssim,
        seconds=seconds,
        psnr_b_degraded=before.psnr_b,
        psnr_b=after.psnr_b,
    )
