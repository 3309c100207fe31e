"""Restoring a picture of any size tile by tile, in memory that does not grow with it.

The picture stays where it is, in its own dtype; each tile is converted when
its turn comes, and only a band of rows as high as a tile is kept in float.
"""

import logging
import math
from collections.abc import Callable, Iterator

import numpy as np

from keras_rdanet.image.io import to_float
from keras_rdanet.inference.image_function import ImageFunction

MIN_TILE = 32
# Working memory that `tile="auto"` allows a tile; with a framework's own
# half gigabyte and the picture, a process stays below 2 GB.
TILE_MEMORY = 2**29
# Bytes per pixel of functions that do not state it.
BYTES_PER_PIXEL = 4096
# One side of a tile of a function that compares all positions, whose time
# grows with the square of the area.
NONLOCAL_TILE = 64
# Share of a tile that overlaps, for functions that pool over it; benchmarks/tiling.py measures
# the loss of PSNR.
POOLED_OVERLAP = 1 / 8

# Tiles start on multiples of this, which keeps the grid of networks with strides
# where it is in the whole picture.
STRIDE_UNIT = 4

_OUT_OF_MEMORY = (
    "resourceexhausted",
    "out of memory",
    "oom when",
    "failed to allocate",
    "alloc_failed",
)

logger = logging.getLogger(__name__)


def check_tile(tile: str | int) -> None:
    """Raise a `ValueError` unless `tile` is `"auto"`, `"off"` or a number from `MIN_TILE`."""
    is_number = isinstance(tile, int) and not isinstance(tile, bool)
    if tile not in ("auto", "off") and not (is_number and int(tile) >= MIN_TILE):
        raise ValueError(
            f"`tile` must be 'auto', 'off' or a whole number from {MIN_TILE}, got {tile!r}."
        )


def choose_tile(
    function: ImageFunction,
    height: int,
    width: int,
    tile: str | int = "auto",
    max_pixels: int | None = None,
    memory: int | None = None,
) -> tuple[int, int]:
    """The height and width of the tiles for a picture of `height` by `width` pixels.

    Args:
        function: Function that will restore the tiles.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        tile: `"auto"`: the whole picture if its working memory fits in
            `TILE_MEMORY` and in half of `memory`, else the tiles that do and overlap
            no more than they must. `"off"`: the whole picture. A number: square tiles of
            that side, at least `MIN_TILE`. What compares all positions gets
            tiles of `NONLOCAL_TILE`, or of a number that fits in `TILE_MEMORY`.
        max_pixels: Area of a tile for which memory sufficed, once it has run out, in pixels.
        memory: Memory that this process may still take, in bytes; `None` if that is not known.

    Raises:
        ValueError: if `tile` is something else, or the function cannot take
            tiles so large, or not with this memory.
    """
    check_tile(tile)
    if function.tile_shape is not None:
        fits = height <= function.tile_shape[0] and width <= function.tile_shape[1]
        if tile != "auto" and not (tile == "off" and fits):
            raise ValueError(
                f"{function.name} only takes tiles of {_times(function.tile_shape)} pixels; "
                f"use tile='auto', not {tile!r}."
            )
        return function.tile_shape
    if tile == "off":
        if function.support == "nonlocal" and max(height, width) > NONLOCAL_TILE:
            raise ValueError(
                f"{function.name} compares all positions and cannot take {height}x{width} pixels "
                "at once; use tile='auto'."
            )
        _check_memory(function, height, width, memory)
        return height, width
    budget = TILE_MEMORY if memory is None else min(TILE_MEMORY, memory // 2)
    pixels = budget // (function.bytes_per_pixel or BYTES_PER_PIXEL)
    if tile == "auto":
        if function.support == "nonlocal":
            return NONLOCAL_TILE, NONLOCAL_TILE
        pixels = min(pixels, max_pixels or pixels)
        if height * width <= pixels:
            return height, width
        # The band of rows that is kept is as wide as the restored picture.
        rows = budget // (4 * function.channels * function.scale**2 * width)
        side = max(min(math.isqrt(pixels), rows) // 32 * 32, MIN_TILE)
        overlap = default_overlap(function, (side, side))
        return _even(function, height, side, overlap), _even(function, width, side, overlap)
    side = int(tile)
    needed = min(side, height) * min(side, width)
    largest = max(pixels, NONLOCAL_TILE**2)
    if function.support == "nonlocal" and needed > largest:
        raise ValueError(
            f"{function.name} compares all positions, and memory does not suffice for tiles of "
            f"{side}x{side} pixels; take at most {math.isqrt(largest)}, or 'auto' for "
            f"{NONLOCAL_TILE}."
        )
    side = min(side, max(math.isqrt(max_pixels), MIN_TILE)) if max_pixels else side
    _check_memory(function, min(side, height), min(side, width), memory)
    return side, side


def _check_memory(function, height, width, memory):
    """Refuse a size that memory does not suffice for; a framework that runs out may crash."""
    # For a function without `bytes_per_pixel`, only input and output are counted.
    least = 8 * function.channels * (1 + function.scale**2)
    needed = height * width * (function.bytes_per_pixel or least)
    if memory is not None and needed > memory:
        raise ValueError(
            f"{function.name} takes about {needed / 1e9:.2f} GB for {height}x{width} pixels at "
            f"once and {memory / 1e9:.2f} GB are available; use tile='auto' (--tile auto)."
        )


def default_overlap(function: ImageFunction, tile_size: tuple[int, int]) -> int:
    """The overlap of neighbouring tiles in pixels: two radii where that is known and fits."""
    limit = min(tile_size) // 2
    if function.radius is not None:
        return min(2 * function.radius, limit)
    return min(round(max(tile_size) * POOLED_OVERLAP), limit)


def _even(function, length, tile, overlap):
    """The shortest tile of which no more are needed, so that little is computed twice."""
    if length <= tile:
        return length
    unit = math.lcm(function.multiple, STRIDE_UNIT)
    count = -(-(length - overlap) // max((tile - overlap) // unit * unit, unit))
    return min(_round_up(-(-(length - overlap) // count), unit) + overlap, tile)


def restore_tiled(
    function: ImageFunction,
    source: np.ndarray,
    tile_size: tuple[int, int],
    overlap: int | None = None,
    *,
    write: Callable[[int, np.ndarray], None],
    prepare: Callable[[np.ndarray], np.ndarray] = to_float,
    on_tile: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Restore `source` tile by tile and hand the finished rows to `write`, top down.

    All tiles have one shape: those at the right and the bottom move inwards.
    Neighbours fade into each other with a raised cosine; a local function
    whose overlap is at least two radii gives what it gives for the whole
    picture. When memory runs out, everything starts again with tiles of half
    the side, so that the whole result has one tile size.

    Args:
        function: Restores one tile at a time.
        source: `(H, W, C)`, any dtype that `prepare` takes.
        tile_size: Height and width of the tiles; more than the picture means
            no more than the picture.
        overlap: Pixels that neighbours share, at most half a tile; `None`
            for `default_overlap`.
        write: Function that is called with the first row and `(rows, scale * W, channels)`
            float32, which is valid during the call only; it is called again from row 0 after
            memory ran out.
        prepare: Function that turns a part of `source` into `(h, w, channels)` float32.
        on_tile: Function that is called after each tile with two numbers: the tiles done and all
            tiles.

    Returns:
        The tile size that memory sufficed for.

    Raises:
        OSError: if memory does not suffice for the smallest tiles.
    """
    while True:
        try:
            for top, rows in _bands(function, source, tile_size, overlap, prepare, on_tile):
                write(top, rows)
            return tile_size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            height, width = (min(side, max(side // 2, MIN_TILE)) for side in tile_size)
            smaller = height, width
            if function.tile_shape is not None or smaller == tile_size:
                raise OSError(
                    f"Out of memory with tiles of {_times(tile_size)} pixels; "
                    "close other programs or take a smaller model."
                ) from error
        tile_size, overlap = smaller, None
        logger.warning("Out of memory; going on with tiles of %s pixels.", _times(tile_size))


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory ran out, whichever framework raised it."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(mark in text for mark in _OUT_OF_MEMORY)


def _bands(
    function, source, tile_size, overlap, prepare, on_tile
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the values of each finished band of rows."""
    height, width = source.shape[:2]
    if overlap is None:
        overlap = default_overlap(function, tile_size)
    tops, tile_height, row_weights = _axis(function, height, tile_size[0], overlap)
    lefts, tile_width, column_weights = _axis(function, width, tile_size[1], overlap)
    scale = function.scale
    band = np.zeros(
        (tile_height * scale, (lefts[-1] + tile_width) * scale, function.channels), np.float32
    )
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            tile = prepare(source[top : top + tile_height, left : left + tile_width])
            missing = tile_height - tile.shape[0], tile_width - tile.shape[1]
            tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
            weights = row_weights[i][:, None, None] * column_weights[j][None, :, None]
            columns = slice(left * scale, (left + tile_width) * scale)
            band[:, columns] += function(tile[None])[0] * weights
            if on_tile is not None:
                on_tile(i * len(lefts) + j + 1, len(tops) * len(lefts))
        end = tops[i + 1] if i + 1 < len(tops) else height
        finished = (end - top) * scale
        yield top * scale, band[:finished, : width * scale]
        band[:-finished] = band[finished:]
        band[-finished:] = 0


def _axis(function, length, tile, overlap) -> tuple[list[int], int, np.ndarray]:
    """The starts, the length and the weights of the tiles along one axis."""
    multiple = function.multiple
    unit = math.lcm(multiple, STRIDE_UNIT)
    padded = _round_up(max(length, function.min_size), multiple)
    if function.tile_shape is not None:
        padded = max(padded, tile)
    else:
        tile = min(_round_up(max(tile, function.min_size), multiple), padded)
    overlap = min(overlap, tile // 2)
    stride = max((tile - overlap) // unit * unit, multiple)
    starts = [*range(0, padded - tile, stride), padded - tile]
    return starts, tile, _fade(function, starts, tile, tile - stride)


def _fade(function, starts, tile, overlap) -> np.ndarray:
    """Weights `(tiles, scale * tile)`; those that meet in a pixel add up to 1.

    Values near the cut edge of a tile do not count: within the radius of a
    local function where the overlap has room for it, else within a quarter
    of the overlap.
    """
    scale = function.scale
    has_room = function.radius is not None and 2 * function.radius <= overlap
    margin = (function.radius if has_room else overlap // 4) * scale
    tile, overlap = tile * scale, overlap * scale
    position = (np.arange(overlap) + 0.5 - margin) / max(overlap - 2 * margin, 1)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0, 1))
    weights = np.ones((len(starts), tile))
    weights[1:, :overlap] *= rise
    weights[:-1, tile - overlap :] *= rise[::-1]
    total = np.zeros(starts[-1] * scale + tile)
    places = [slice(start * scale, start * scale + tile) for start in starts]
    for place, weight in zip(places, weights, strict=True):
        total[place] += weight
    return np.stack(
        [weight / total[place] for place, weight in zip(places, weights, strict=True)]
    ).astype(np.float32)


def _round_up(value, multiple):
    return -(-value // multiple) * multiple


def _times(size):
    return f"{size[0]}x{size[1]}"
