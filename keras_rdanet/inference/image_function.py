"""The seam between the parts: a function from images to images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_rdanet.weights.origin import Origin

# The fields below that a network and all its exports share.
TRAITS = ("channels", "support", "radius", "scale", "multiple", "min_size", "bytes_per_pixel")


@dataclass(frozen=True)
class ImageFunction:
    """A network, or an exported file, as a function on batches of images.

    Args:
        function: Function that maps `(N, H, W, channels)` float32 to `(N, scale * H, scale * W,
            channels)` float32, neither clipped.
        channels: `1` for gray, `3` for RGB.
        name: Name of the function in reports.
        support: Region of the input that an output pixel depends on: `"local"` (within `radius`
            pixels), `"global_pool"` (means over the whole input, so a tile differs from the whole
            picture) or `"nonlocal"` (compares all positions; must be tiled).
        radius: Radius of the local support, in pixels; `None` for other kinds of support.
        scale: Super-resolution factor; `1` otherwise.
        multiple: Number that must divide height and width.
        min_size: Smallest height and width of the input, in pixels.
        tile_shape: `(height, width)` when the input shape is fixed.
        bytes_per_pixel: Peak working memory for each input pixel, measured;
            what `tile="auto"` divides its budget by.
        precision: Precision of the computation, `"float32"` or `"bfloat16"`; exports also have
            `"int8"` and others.
        origin: Identity of the model: its network, weights and task; `None` if unknown.
    """

    function: Callable[[np.ndarray], np.ndarray]
    channels: int
    name: str
    support: Literal["local", "global_pool", "nonlocal"] = "local"
    radius: int | None = None
    scale: int = 1
    multiple: int = 1
    min_size: int = 1
    tile_shape: tuple[int, int] | None = None
    bytes_per_pixel: int | None = None
    precision: str = "float32"
    origin: Origin | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Restore `(N, H, W, channels)` float32 images."""
        return self.function(images)

    @property
    def task(self) -> str | None:
        """The task it was trained for, an identifier of the registry; `None` if unknown."""
        return self.origin.task if self.origin else None


def traits(source: Any) -> dict[str, Any]:
    """Arguments of an `ImageFunction` that a network shares with its exports, read from either."""
    return {name: getattr(source, name) for name in TRAITS}
