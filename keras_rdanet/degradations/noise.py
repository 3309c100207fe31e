"""Former home of the noise, which is in `keras_rdanet.tasks` now."""

import warnings

from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.gaussian_noise import GaussianNoise

__all__ = ["CameraNoise", "GaussianNoise"]

warnings.warn(
    "keras_rdanet.degradations.noise is keras_rdanet.tasks now: "
    "`from keras_rdanet.tasks import GaussianNoise`.",
    DeprecationWarning,
    stacklevel=2,
)
