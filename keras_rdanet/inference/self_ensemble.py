"""Averaging a function over the eight flips and turns of its input."""

import dataclasses

import numpy as np

from keras_rdanet.image.geometry import DIHEDRAL, dihedral, undo_dihedral
from keras_rdanet.inference.image_function import ImageFunction


def self_ensemble(function: ImageFunction) -> ImageFunction:
    """A function that restores all eight orientations and averages them, unclipped.

    Eight times the work, for a little more PSNR.

    Raises:
        ValueError: if `function` only takes tiles that are not square.

    Reference:
        Timofte et al., Seven ways to improve example-based single image super
        resolution, 2016, section 3.3 (enhanced prediction).
    """
    if function.tile_shape is not None and function.tile_shape[0] != function.tile_shape[1]:
        raise ValueError(
            f"{function.name} takes tiles of {function.tile_shape} pixels, which cannot be turned; "
            "self-ensemble needs square ones."
        )

    def average(images: np.ndarray) -> np.ndarray:
        height, width = (side * function.scale for side in images.shape[1:3])
        total = np.zeros((len(images), height, width, function.channels), np.float32)
        for mode in range(len(DIHEDRAL)):
            turned = np.ascontiguousarray(dihedral(images, mode))
            total += undo_dihedral(function(turned), mode)
        return total / len(DIHEDRAL)

    return dataclasses.replace(function, function=average, name=f"{function.name} x8")
