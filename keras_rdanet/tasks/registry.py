"""From names to tasks."""

from keras_rdanet.tasks.bayer_mosaic import BayerMosaic
from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.gaussian_noise import GaussianNoise
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.motion_blur import MotionBlur
from keras_rdanet.tasks.rain import Rain
from keras_rdanet.tasks.super_resolution import SuperResolution

# The identifier of a task, in configs, commands, weights and exports -> its class.
TASKS: dict[str, type] = {
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


def resolve(name: str) -> str:
    """Return the identifier of a task, also for a name of version 0.1.0.

    Raises:
        ValueError: if there is no such task; lists the known ones.
    """
    name = FORMER_NAMES.get(name, name)
    if name not in TASKS:
        raise ValueError(f"There is no task {name!r}; known: {', '.join(TASKS)}.")
    return name


def get(name: str) -> type:
    """Return the class of a task; errors as in `resolve`."""
    return TASKS[resolve(name)]
