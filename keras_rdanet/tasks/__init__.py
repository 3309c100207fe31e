"""Tasks, the degradations that images are restored from: one file a task, and their registry.

A task is an object with the options of a degradation: `GaussianNoise(sigma=(0, 50))`.
"""

from keras_rdanet.tasks.bayer_mosaic import BayerMosaic
from keras_rdanet.tasks.camera_noise import CameraNoise
from keras_rdanet.tasks.gaussian_noise import GaussianNoise
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.motion_blur import MotionBlur
from keras_rdanet.tasks.rain import Rain
from keras_rdanet.tasks.super_resolution import SuperResolution

__all__ = [
    "JPEG",
    "BayerMosaic",
    "CameraNoise",
    "GaussianNoise",
    "MotionBlur",
    "Rain",
    "SuperResolution",
]
