"""The tilings that published scores were made with: hard seams, no blending."""

from collections.abc import Callable

import numpy as np


def chop(
    function: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    scale: int = 1,
    shave: int = 10,
    min_size: int = 6400,
) -> np.ndarray:
    """Restore the four corners apart, each in turn by four, and join them without blending.

    Only for comparing with scores measured that way: every image is split at
    least once, and the tiles meet in a hard seam. `Restorer` blends.

    Args:
        function: Function that maps `(N, h, w, C)` to `(N, scale * h, scale * w, C)`.
        images: `(N, H, W, C)`; what is smaller than its own tiles (sides up
            to about 20) is restored whole.
        scale: Super-resolution factor.
        shave: Number of pixels by which a tile exceeds half of the image.
        min_size: Tiles of fewer pixels are restored, others split again;
            6800 in the authors' colour denoising, 6400 in all else.

    Raises:
        ValueError: if `min_size` is so small that splitting would not end.

    Reference:
        `forward_chop` of SHI-Labs/Pyramid-Attention-Networks.
    """
    smallest = (2 * shave + scale - 1) ** 2
    if min_size <= smallest:
        raise ValueError(
            f"`min_size` must exceed {smallest} pixels, since tiles with `shave` {shave} "
            f"stay that large; got {min_size}."
        )
    height, width = images.shape[1:3]
    tile_height, tile_width = (_tile(side, shave, scale) for side in (height, width))
    if tile_height > height or tile_width > width:
        return function(images)
    bands = []
    for top, rows in _halves(height, tile_height, scale):
        band = []
        for left, columns in _halves(width, tile_width, scale):
            tile = images[:, top : top + tile_height, left : left + tile_width]
            if tile_height * tile_width < min_size:
                restored = function(tile)
            else:
                restored = chop(function, tile, scale=scale, shave=shave, min_size=min_size)
            band.append(restored[:, rows, columns])
        bands.append(np.concatenate(band, axis=2))
    return np.concatenate(bands, axis=1)


def four_tiles(
    function: Callable[[np.ndarray], np.ndarray], images: np.ndarray, refield: int = 64
) -> np.ndarray:
    """Restore the four corners apart and join them, as the original test code does.

    Only for comparing with scores measured that way: the tiles meet in a hard
    seam that can lie a pixel from a tile's edge.

    Args:
        function: Function that maps `(N, h, w, C)` to the same shape.
        images: `(N, H, W, C)`.
        refield: A tile is the next multiple of this beyond half of the image.

    Raises:
        ValueError: if a side is shorter than its tile.
    """
    height, width = images.shape[1:3]
    tile_height, tile_width = ((side // 2 // refield + 1) * refield for side in (height, width))
    if height < tile_height or width < tile_width:
        raise ValueError(
            f"Four tiles with refield {refield} need sides of at least {refield} pixels, "
            f"got {height}x{width}; restore this image whole."
        )
    restored = np.empty_like(images)
    for top, rows in ((0, slice(0, height // 2)), (height - tile_height, slice(height // 2, None))):
        for left, columns in (
            (0, slice(0, width // 2)),
            (width - tile_width, slice(width // 2, None)),
        ):
            tile = function(images[:, top : top + tile_height, left : left + tile_width])
            y, x = rows.start - top, columns.start - left
            part = restored[:, rows, columns]
            part[:] = tile[:, y : y + part.shape[1], x : x + part.shape[2]]
    return restored


def _tile(side, shave, scale):
    tile = side // 2 + shave
    # As in the original, where it makes tiles divisible by 2 and 4 but not by 3.
    return tile + tile % scale


def _halves(side, tile, scale):
    """The starts of the two tiles of an axis, and the part of each result that is kept."""
    half = side // 2
    yield 0, slice(0, scale * half)
    yield side - tile, slice(-scale * (side - half), None)
