"""The seam between the parts: a function from images to images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_rdanet.weights.origin import Origin

# Of the fields below, those that a network and all exports of it share.
TRAITS = ("channels", "support", "radius", "scale", "multiple", "min_size", "bytes_per_pixel")


@dataclass(frozen=True)
class ImageFunction:
    """A network, or an exported file, as a function on batches of images.

    Args:
        function: Maps `(N, H, W, channels)` float32 to
            `(N, scale * H, scale * W, channels)` float32, neither clipped.
        channels: `1` for gray, `3` for RGB.
        name: What reports call it.
        support: How far an output pixel sees: `"local"` (within `radius`
            pixels), `"global_pool"` (means over whatever it is given, so a
            tile differs from the whole picture) or `"nonlocal"` (compares all
            positions; must be tiled).
        radius: Of the local support, in pixels; `None` when there is none.
        scale: Super-resolution factor; `1` otherwise.
        multiple: Height and width must be multiples of this.
        min_size: The smallest height and width it takes.
        tile_shape: `(height, width)` when the input shape is fixed.
        bytes_per_pixel: Peak working memory for each input pixel, measured;
            what `tile="auto"` divides its budget by.
        precision: What it computes in, `"float32"` or `"bfloat16"`; exports
            also say `"int8"` and the like.
        origin: The network, the weights and the task behind it; `None` if unknown.
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
        """What it was trained for, an identifier of the task registry; `None` if unknown."""
        return self.origin.task if self.origin else None


def traits(source: Any) -> dict[str, Any]:
    """Arguments of an `ImageFunction` that a network shares with its exports, read from either."""
    return {name: getattr(source, name) for name in TRAITS}
