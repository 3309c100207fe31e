"""Bicubic downsampling, which super-resolution undoes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.image.resize import check_scale, check_size, downsample, shrink
from keras_rdanet.tasks.base import EvaluationOption, Layout, Pairs, Task
from keras_rdanet.tasks.scoring import Scoring

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class SuperResolution(Task):
    """Antialiased downsampling for a training pipeline; nothing about it is random.

    Args:
        scale: 2, 3 or 4.

    For scoring, images are cut at the right and the bottom to multiples of the
    scale, made smaller and rounded to 8 bits; Y is scored without a border of
    `scale` pixels.

    Called with a float32 batch `(B, H, W, C)`, height and width known and
    multiples of the scale, and a seed, which it ignores, it returns
    `(B, H/scale, W/scale, C)` float32, not clipped: the overshoot of the kernel
    at edges is kept.

    Raises:
        ValueError: if the scale is another, or does not divide height and width.

    Reference:
        The evaluation of the PANet paper, which is that of EDSR: bicubic RGB
        images of 8 bits in. MATLAB also rounds between its two axes.
    """

    scale: int = field()

    name = "super_resolution"
    title = "bicubic super-resolution"
    pairs_title = "super-resolution pairs"
    evaluation_options = (
        EvaluationOption(
            "crop_border",
            "integer",
            "pixels not scored on every side; the scale by default",
            low=0,
            of_pairs=True,
        ),
    )
    # Pairs of RealSR are of one size: the scale that they were enlarged by cannot be seen.
    layouts = {
        f"realsr_x{scale}": Layout(rf"(.*)_lr{scale}", r"(.*)_hr", crop_border=scale)
        for scale in (2, 3, 4)
    }

    def __post_init__(self):
        check_scale(self.scale)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the small batch of `target`."""
        import tensorflow as tf

        del seed
        check_size(target.shape[1:3], self.scale)
        rows = shrink(target, self.scale, 1, tf.gather)
        return shrink(rows, self.scale, 2, tf.gather)

    @property
    def scoring(self) -> Scoring:
        """On Y, without a border of `scale` pixels."""
        return Scoring("exact", crop_border=self.scale)

    @property
    def level(self) -> dict[str, float]:
        """The scale."""
        return {"scale": self.scale}

    def prepare(self, clean: np.ndarray) -> np.ndarray:
        """Return the image, cut at the right and the bottom to multiples of the scale."""
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        return clean[:height, :width]

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return the small image of `(H, W, C)` uint8, float32 in `[0, 1]`."""
        del index
        return to_float(to_samples(downsample(to_float(clean), self.scale), np.uint8))

    def describe(self) -> dict[str, Any]:
        """Say how images are made smaller."""
        return {
            "target": "cut at the right and the bottom to multiples of the scale",
            "degraded": "MATLAB's antialiased bicubic imresize, clipped and rounded to uint8",
            "input": "enlarged by MATLAB's bicubic imresize to be scored",
        }

    @classmethod
    def levels(cls, scale: int = 1) -> list[Task]:
        """Return the task at the scale of the network.

        Raises:
            ValueError: if the network does not enlarge.
        """
        if scale == 1:
            raise ValueError("Super-resolution of clean images needs a network that enlarges.")
        return [cls(scale)]

    @classmethod
    def pairs(cls, scale: int = 1, *, crop_border: int | None = None) -> Pairs:
        """Return the protocol that scores pairs on Y, without a border; the scale if not given."""
        border = scale if crop_border is None else crop_border
        return Pairs(cls.pairs_title, scale, Scoring("exact", crop_border=border))

    @classmethod
    def calibration(cls, scale: int = 1) -> Task:
        """Return the task at the scale of the network."""
        return cls(scale)
