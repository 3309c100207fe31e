"""The interface of numbered images from any origin."""

from typing import Protocol

import numpy as np

from keras_rdanet.image.io import PictureHeader


class Source(Protocol):
    """Numbered images: each a target alone, or a degraded image and its target.

    Sources are equal, and have the same hash, when they hold the same images.
    """

    @property
    def paired(self) -> bool:
        """Whether targets come with their degraded images."""

    def __len__(self) -> int:
        """Return the number of images or pairs."""

    def name(self, index: int) -> str:
        """Return the name of an image in messages."""

    def headers(self, index: int) -> tuple[PictureHeader, ...]:
        """Return the headers of the images that `read` returns."""

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Return `(target,)` or `(degraded, target)`, each `(H, W, C)` as stored."""
