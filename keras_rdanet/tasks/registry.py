"""From names to tasks."""

from collections.abc import Mapping
from typing import Any

from keras_rdanet.tasks.base import EvaluationProtocol, Layout, Task
from keras_rdanet.tasks.bayer_mosaic import BayerMosaic
from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.gaussian_noise import GaussianNoise
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.motion_blur import MotionBlur
from keras_rdanet.tasks.rain import Rain
from keras_rdanet.tasks.super_resolution import SuperResolution

# The identifier of a task, in configs, commands, weights and exports -> its class.
TASKS: dict[str, type[Task]] = {
    "gaussian_noise": GaussianNoise,
    "camera_noise": CameraNoise,
    "jpeg": JPEG,
    "bayer_mosaic": BayerMosaic,
    "super_resolution": SuperResolution,
    "motion_blur": MotionBlur,
    "rain": Rain,
}
# What version 0.1.0 called them, in its files and configs.
FORMER_NAMES = {"bicubic": "super_resolution", "rain_streaks": "rain"}
# The task of networks that do not state one: without and with enlarging.
USUAL, USUAL_ENLARGING = "gaussian_noise", "super_resolution"


def resolve(name: str) -> str:
    """Return the identifier of a task, also for a name of version 0.1.0.

    Raises:
        ValueError: if there is no such task; lists the known ones.
    """
    found = FORMER_NAMES.get(name, name)
    if found not in TASKS:
        raise ValueError(f"There is no task {name!r}; known: {', '.join(TASKS)}.")
    return found


def get(name: str) -> type[Task]:
    """Return the class of a task; errors as in `resolve`."""
    return TASKS[resolve(name)]


def usual(name: str | None, scale: int = 1) -> type[Task]:
    """Return the class of a task; without a name, what a network of that scale is usually for."""
    return get(name or (USUAL if scale == 1 else USUAL_ENLARGING))


def of_pairs(name: str | None, scale: int = 1) -> type[Task]:
    """Return the task whose protocol scores pairs that a network is tried on.

    Args:
        name: Identifier of the task of the network; `None` if it is not known.
        scale: Factor by which the network enlarges.
    """
    task = usual(USUAL_ENLARGING if scale > 1 else name, scale)
    return get(task.scored_pairs) if task.scored_pairs else task


def parse(value: Any) -> Task:
    """Make a task of a mapping with its `name` and its options, as configs have it.

    Raises:
        ValueError: if it is no such mapping, or an option is unknown, missing or wrong.
    """
    if isinstance(value, Task):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError(f"A task needs a `name`, one of {', '.join(TASKS)}.")
    options = dict(value)
    return get(options.pop("name")).from_options(options)


def protocols(
    name: str | None, scale: int = 1, *, paired: bool = False, **options: Any
) -> list[EvaluationProtocol]:
    """Return the protocols that score a task, one for each level.

    Args:
        name: Identifier of the task; by default the task that `usual` or `of_pairs` returns.
        scale: Factor by which the network enlarges.
        paired: Whether images come as pairs instead of clean ones.
        **options: `evaluation_options` of the task, such as `sigma=25` or
            `sigma=(15, 25)`; those that are not given have the usual values.

    Raises:
        ValueError: if an option is not one of the task's, or wrong.
    """
    task = of_pairs(name, scale) if paired else usual(name, scale)
    known = [o.name for o in task.evaluation_options if o.of_pairs == paired]
    for option in options:
        if option not in known:
            what = "pairs" if paired else "clean images"
            raise ValueError(
                f"`{option}` is no option of {task.name} on {what}; "
                f"known: {', '.join(known) or 'none'}."
            )
    if paired:
        return [task.pairs(scale, **options)]
    return [level.protocol() for level in task.levels(scale, **options)]


def layouts() -> dict[str, tuple[type[Task], Layout]]:
    """Return every public set of pairs whose folders are known, with the task that it is of."""
    return {
        name: (task, layout) for task in TASKS.values() for name, layout in task.layouts.items()
    }


def layout(name: str) -> tuple[type[Task], Layout]:
    """Return the task and the folders of a public set.

    Raises:
        ValueError: if the set is unknown; lists the known ones.
    """
    known = layouts()
    if name not in known:
        raise ValueError(f"`layout` must be one of {', '.join(known)}, got {name!r}.")
    return known[name]


def check_layout(name: str) -> str:
    """Return the name of a public set; errors as in `layout`."""
    layout(name)
    return name
