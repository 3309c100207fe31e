"""From the name of a task to the protocols that score it.

A task is called as the degradation of a training config.
"""

from collections.abc import Sequence

from keras_rdanet.evaluation.protocols import (
    JPEG,
    BayerMosaic,
    EvaluationProtocol,
    GaussianNoise,
    RealPairs,
    Scoring,
    SuperResolution,
    Synthetic,
)
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.motion_blur import MotionBlur
from keras_rdanet.tasks.rain import Rain
from keras_rdanet.tasks.registry import FORMER_NAMES

# Papers on rain score Y rounded to 8 bits, as MATLAB's rgb2ycbcr gives it.
_RAIN = Scoring("rounded")

SIGMAS = (15.0, 25.0, 50.0)
QUALITIES = (10, 20, 30, 40)

# Task -> pairs of it, but for super-resolution, whose scale decides.
_PAIRS = {
    "gaussian_noise": RealPairs("noise pairs"),
    "camera_noise": RealPairs(),
    "jpeg": RealPairs("JPEG pairs", scoring=Scoring(blocks=True)),
    "bayer_mosaic": RealPairs("mosaic pairs", cells=True),
    "motion_blur": RealPairs("blur pairs"),
    "rain_streaks": RealPairs("rain pairs", scoring=_RAIN),
}
TASKS = (*_PAIRS, "bicubic")

# Public set, as `data.sources.LAYOUTS` calls it -> what its pairs are of.
LAYOUTS = {
    "sidd": "camera_noise",
    "polyu": "camera_noise",
    "cc": "camera_noise",
    "realsr_x2": "bicubic",
    "realsr_x3": "bicubic",
    "realsr_x4": "bicubic",
    "gopro": "motion_blur",
    "rain100": "rain_streaks",
    "rain13k": "rain_streaks",
}
# The scales that pairs of one size were enlarged by, and whose border is not scored.
CROP_BORDERS = {"realsr_x2": 2, "realsr_x3": 3, "realsr_x4": 4}

# Identifier of a task -> what it is called here.
_NAMES = {new: old for old, new in FORMER_NAMES.items()}


def task_of(function: ImageFunction) -> str | None:
    """Return the task that a model was trained for, `None` if it does not say."""
    return "bicubic" if function.scale > 1 else _name(function.task)


def _name(task):
    return _NAMES.get(task, task)


def clean_protocols(
    task: str,
    scale: int = 1,
    sigmas: Sequence[float] = (),
    qualities: Sequence[int] = (),
    mean: float = 0.0,
) -> list[EvaluationProtocol]:
    """Return the protocols of a task on clean images, one for each level.

    Args:
        task: One of `TASKS`.
        scale: Of the network.
        sigmas: Of Gaussian noise; `SIGMAS` if empty.
        qualities: Of JPEG; `QUALITIES` if empty.
        mean: Of Gaussian noise.

    Raises:
        ValueError: if the task is super-resolution and the network does not enlarge.
    """
    task = _name(task)
    if task == "gaussian_noise":
        return [GaussianNoise(sigma, mean=mean) for sigma in sigmas or SIGMAS]
    if task == "jpeg":
        return [JPEG(quality) for quality in qualities or QUALITIES]
    if task == "bicubic":
        if scale == 1:
            raise ValueError("Super-resolution of clean images needs a network that enlarges.")
        return [SuperResolution(scale)]
    return [
        {
            "bayer_mosaic": BayerMosaic(),
            "camera_noise": Synthetic("synthetic camera noise", CameraNoise()),
            "motion_blur": Synthetic("synthetic motion blur", MotionBlur()),
            "rain_streaks": Synthetic("synthetic rain", Rain(), scoring=_RAIN),
        }[task]
    ]


def pair_protocol(task: str, scale: int = 1, crop_border: int | None = None) -> EvaluationProtocol:
    """Return the protocol of a task on pairs of images.

    Args:
        task: One of `TASKS`.
        scale: Of the network.
        crop_border: Of super-resolution; the scale if not given. Pairs of
            RealSR are of one size, so theirs cannot be seen from the network.
    """
    task = _name(task)
    if task == "bicubic":
        border = scale if crop_border is None else crop_border
        scoring = Scoring("exact", crop_border=border)
        return RealPairs("super-resolution pairs", scale, scoring)
    return _PAIRS[task]
