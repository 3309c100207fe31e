"""The base class of tasks: how images are degraded, and how restored ones are scored."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from keras_rdanet.image.color import limited_luma_8bit, luma
from keras_rdanet.image.io import PictureHeader, to_float, to_samples
from keras_rdanet.image.source import Source
from keras_rdanet.tasks.scoring import Sample, Scoring

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Layout:
    """The folders in which a public set of pairs is published.

    Args:
        degraded: Regular expression for the degraded files: the whole path below the
            set's folder, without suffix, in lower case.
        target: Regular expression for the targets. Partners have equal groups.
        crop_border: Pixels that are not scored on every side; `None` for the
            number that is usual for the task.
    """

    degraded: str
    target: str
    crop_border: int | None = None


@dataclass(frozen=True)
class EvaluationOption:
    """An option of the scoring of a task, on the command line and in Python.

    Args:
        name: The keyword; `--` and the keyword with hyphens on the command line.
        kind: `"number"` or `"integer"`.
        help: Text for `--help`, one line.
        low: Least value.
        high: Greatest value; `None` for no limit.
        many: Whether the option may be given several times, with one measurement for each value.
        of_pairs: Whether the option belongs to pairs instead of clean images.
    """

    name: str
    kind: Literal["number", "integer"]
    help: str
    low: float | None = None
    high: float | None = None
    many: bool = False
    of_pairs: bool = False


class Task(ABC):
    """A kind of degradation with its options; networks are trained to undo it.

    A subclass is a frozen dataclass in a file of its own. Its fields are the options, which
    `__post_init__` validates; a line in `registry` makes it known to configs, commands,
    weights and exports. An instance degrades batches for training (`__call__`) and whole
    images for scoring (`degrade`).

    Attributes:
        name: The identifier in the registry.
        title: Name of images with this degradation in reports.
        pairs_title: Name of pairs of images from files in reports.
        needs_rgb: Whether it is defined for RGB images alone.
        cells: Whether degraded images are a pattern of 2x2 pixels, which must
            neither be turned, by a self-ensemble, nor cut inside a cell.
        is_noise: Whether classical denoisers are methods to compare with.
        chop_min_size: Argument `min_size` of `evaluation.published_tiling.chop`, for scores that
            were published with it.
        scored_pairs: Identifier of the task whose protocol scores the pairs
            that a network for this task is tried on; its own if empty.
        evaluation_options: Options of `levels` and `pairs`, besides the scale.
        layouts: Public sets of pairs for the task, by name.
        scale: Size of a target divided by the size of its degraded image.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    pairs_title: ClassVar[str] = "real pairs"
    needs_rgb: ClassVar[bool] = False
    cells: ClassVar[bool] = False
    is_noise: ClassVar[bool] = False
    chop_min_size: ClassVar[int] = 6400
    scored_pairs: ClassVar[str] = ""
    evaluation_options: ClassVar[tuple[EvaluationOption, ...]] = ()
    layouts: ClassVar[dict[str, Layout]] = {}
    scale: int = 1

    @abstractmethod
    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Degrade a batch of a training pipeline.

        Args:
            target: `(B, H, W, C)` float32 in `[0, 1]`.
            seed: Two integers, the only source of randomness.

        Returns:
            The degraded batch, `(B, H / scale, W / scale, C)` float32.
        """

    @property
    def scoring(self) -> Scoring:
        """How restored images are compared with their targets."""
        return Scoring()

    @property
    def level(self) -> dict[str, float]:
        """The level of the degradation, for titles: the name of an option and its value."""
        return {}

    @property
    def noise_level(self) -> float | None:
        """The true sigma in gray levels of 0-255, for denoisers; `None` if there is none."""
        return None

    def prepare(self, clean: np.ndarray) -> np.ndarray:
        """Return the target that is made of a clean image `(H, W, C)` uint8: itself."""
        return clean

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Degrade an image for scoring, in every run alike.

        Unless a task overrides it, this is the degradation of the training
        pipeline, seeded by the number of the image. That needs TensorFlow.

        Args:
            clean: `(H, W, C)` uint8.
            index: The number of the image in its set.

        Returns:
            `(H / scale, W / scale, C)` float32, nominally in `[0, 1]`.
        """
        import tensorflow as tf

        degraded = self(tf.constant(to_float(clean)[None]), (0, index))
        return to_float(to_samples(degraded.numpy()[0], np.uint8))

    def describe(self) -> dict[str, Any]:
        """Say how `degrade` works, for reports; the first entries name the level."""
        return {
            "degradation": repr(self),
            "seed": "0 and the number of the image",
            "degraded": "clipped and rounded to uint8",
        }

    def scored(self) -> "Task":
        """Return the task at the one level that a run over a range of levels is scored at."""
        return self

    def protocol(self) -> "CleanImages":
        """Return the protocol that scores this task, at its level, on clean images."""
        return CleanImages(self)

    def options(self) -> dict[str, Any]:
        """Return the name and all options, as a config has them."""
        return {"name": self.name, **{f.name: getattr(self, f.name) for f in fields(self)}}  # type: ignore[arg-type]

    @classmethod
    def levels(cls, scale: int = 1) -> list["Task"]:
        """Return the task at the levels that are usually scored.

        Args:
            scale: Factor by which the network enlarges.
        """
        del scale
        return [cls()]

    @classmethod
    def pairs(cls, scale: int = 1, *, crop_border: int | None = None) -> "Pairs":
        """Return the protocol that scores pairs of images from files.

        Args:
            scale: Size of a target divided by the size of its degraded image.
            crop_border: Pixels that are not scored on every side; 0 unless a
                task has another usual number.
        """
        return Pairs(cls.pairs_title, scale, Scoring(crop_border=crop_border or 0), cls.cells)

    @classmethod
    def verification(cls, scale: int = 1) -> "Task":
        """Return the task at the level at which exported files are compared with their network."""
        return cls.levels(scale)[0]

    @classmethod
    def calibration(cls, scale: int = 1) -> "Task":
        """Return the task as it degrades the pictures that quantizers learn ranges from."""
        del scale
        return cls()

    @classmethod
    def stress_pictures(cls, scene: np.ndarray) -> dict[str, np.ndarray]:
        """Return pictures on which networks for this task are known to fail.

        Args:
            scene: `(H, W, C)`, 0-255, a picture without noise.

        Returns:
            Name of the case -> picture, 0-255.
        """
        del scene
        return {}

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Task":
        """Make a task of options by name, as configs have them.

        Raises:
            ValueError: if an option is unknown, missing or wrong.
        """
        known = fields(cls)  # type: ignore[arg-type]
        unknown = sorted(options.keys() - {option.name for option in known})
        if unknown:
            names = ", ".join(option.name for option in known) or "it has none"
            raise ValueError(f"`{unknown[0]}` is no option of {cls.name}; known: {names}.")
        missing = [o.name for o in known if o.default is MISSING and o.name not in options]
        if missing:
            raise ValueError(f"{cls.name} needs `{missing[0]}`.")
        return cls(**options)


class EvaluationProtocol(ABC):
    """The interface of a protocol for `evaluate`.

    Attributes:
        name: Name of the protocol in reports.
        paired: Whether it takes pairs of images instead of clean ones.
        scale: Factor by which a network must enlarge the degraded images.
        scoring: Comparison of results with targets.
        cells: Whether images are patterns of 2x2 pixels, see `Task`.
        chop_min_size: Argument of `chop`, see `Task`.
    """

    name: str
    paired = False
    scale: int = 1
    scoring: Scoring = Scoring()
    cells: bool = False
    chop_min_size: int = Task.chop_min_size

    @property
    def title(self) -> str:
        """The name and how strongly images are degraded."""
        return self.name

    @property
    def noise_level(self) -> float | None:
        """See `Task`."""
        return None

    def check(self, source: Source, limit: int | None = None) -> None:
        """Look at the headers of all images, before the first of them is restored.

        Raises:
            ValueError: if an image cannot be read or scored; the message names
                all of them, at most ten by name.
        """
        faults = []
        for index in range(min(len(source), limit or len(source))):
            try:
                faults += self._faults(source.name(index), source.headers(index))
            except ValueError as error:
                faults.append(str(error).rstrip("."))
        if faults:
            more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
            raise ValueError("; ".join(faults[:10]) + more + ".")

    def _faults(self, name: str, headers: Sequence[PictureHeader]) -> list[str]:
        """Say what is wrong with an image or a pair, as far as headers show it."""
        return [
            f"{name} has {header.dtype} samples; the protocol scores 8-bit images, "
            "so convert a copy to 8 bits"
            for header in headers
            if header.dtype != np.uint8
        ]

    @abstractmethod
    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield the samples of a source for a network of 1 or 3 channels.

        Raises:
            ValueError: if an image cannot be used; the message names it.
        """

    @abstractmethod
    def describe(self, channels: int) -> dict[str, Any]:
        """Say what `samples` does and how it is scored, for the report."""


@dataclass(frozen=True)
class CleanImages(EvaluationProtocol):
    """Clean images, which a task degrades.

    Args:
        task: The task, at one level.
    """

    task: Task

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the protocol in reports."""
        return self.task.title

    @property
    def scale(self) -> int:  # type: ignore[override]
        """Factor by which a network must enlarge the degraded images."""
        return self.task.scale

    @property
    def scoring(self) -> Scoring:  # type: ignore[override]
        """How results are compared with targets."""
        return self.task.scoring

    @property
    def cells(self) -> bool:  # type: ignore[override]
        """See `Task`."""
        return self.task.cells

    @property
    def chop_min_size(self) -> int:  # type: ignore[override]
        """See `Task`."""
        return self.task.chop_min_size

    @property
    def title(self) -> str:
        """The name and how strongly images are degraded."""
        return ", ".join([self.name, *(f"{key} {v:g}" for key, v in self.task.level.items())])

    @property
    def noise_level(self) -> float | None:
        """See `Task`."""
        return self.task.noise_level

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every image of a source of clean images, degraded."""
        for index in range(min(len(source), limit or len(source))):
            (clean,) = source.read(index)
            name = source.name(index)
            loaded = _load(clean, channels, name, self.scoring.limited_gray)
            target = self.task.prepare(loaded)
            yield Sample(
                name=Path(name).name,
                degraded=self.task.degrade(target, index),
                target=target,
                converted=clean.shape[-1] != channels,
            )

    def describe(self, channels: int) -> dict[str, Any]:
        """Say how images are loaded, degraded and scored."""
        return {
            "name": self.name,
            **self.task.level,
            **self.task.describe(),
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


@dataclass(frozen=True)
class Pairs(EvaluationProtocol):
    """Degraded images in files and their clean partners, both 8 bits deep.

    Args:
        name: Name of the pairs in reports.
        scale: Size of a clean image divided by the size of its degraded image.
        scoring: Comparison of results with targets.
        cells: Whether images are patterns of 2x2 pixels, see `Task`.
    """

    name: str = "real pairs"
    scale: int = 1
    scoring: Scoring = field(default_factory=Scoring)
    cells: bool = False

    paired = True

    def _faults(self, name: str, headers: Sequence[PictureHeader]) -> list[str]:
        faults = super()._faults(name, headers)
        degraded, clean = headers
        if (clean.height, clean.width) != (
            self.scale * degraded.height,
            self.scale * degraded.width,
        ):
            faults.append(
                f"{name} is {degraded.width}x{degraded.height} and its partner "
                f"{clean.width}x{clean.height} pixels, which is not {self.scale} times as large"
            )
        return faults

    def samples(self, source: Source, channels: int, limit: int | None = None) -> Iterator[Sample]:
        """Yield every pair of a paired source."""
        limited = self.scoring.limited_gray
        for index in range(min(len(source), limit or len(source))):
            degraded, clean = source.read(index)
            name = source.name(index)
            target = _load(clean, channels, name, limited)
            loaded = to_float(_load(degraded, channels, name, limited))
            if target.shape[:2] != tuple(self.scale * side for side in loaded.shape[:2]):
                raise ValueError(
                    f"{name} is {_times(degraded)} and its partner {_times(clean)} pixels, "
                    f"which is not {self.scale} times as large."
                )
            yield Sample(Path(name).name, loaded, target, clean.shape[-1] != channels)

    def describe(self, channels: int) -> dict[str, Any]:
        """Say how pairs are loaded and scored."""
        return {
            "name": self.name,
            **({"scale": self.scale} if self.scale > 1 else {}),
            "degraded": "uint8 / 255 in float32",
            "color": _describe_color(channels, self.scoring),
            **self.scoring.describe(channels),
        }


def _load(samples: np.ndarray, channels: int, name: str, limited: bool) -> np.ndarray:
    """Give an 8-bit image the channels of the network."""
    if samples.dtype != np.uint8:
        raise ValueError(
            f"{name} has {samples.dtype} samples; the protocol scores 8-bit images, "
            "so convert a copy to 8 bits."
        )
    if samples.shape[-1] == channels:
        return samples
    if channels == 3:
        return np.repeat(samples, 3, axis=-1)
    return limited_luma_8bit(samples) if limited else luma(samples)


def _describe_color(channels: int, scoring: Scoring) -> str:
    if channels == 1 and scoring.limited_gray:
        return "gray; colour files by limited-range BT.601 luma (MATLAB), rounded to uint8"
    if channels == 1:
        return "gray; colour files by full-range BT.601 luma (OpenCV)"
    return "RGB; the value of gray files three times"


def _times(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
