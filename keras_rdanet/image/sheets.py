"""Pictures for people to look at: side by side, split in the middle, in a grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_rdanet.image.io import to_float, to_samples

_MIN_SIDE = 160  # smaller pictures are enlarged by a whole factor
_FONT_SIZE = 14
_GAP = 6
_BACKGROUND, _INK = (255, 255, 255), (0, 0, 0)


def side_by_side(pictures: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Put pictures in a row, each under its title.

    Args:
        pictures: `(title, image)`, as for `sheet`.

    Returns:
        `(H, W, 3)` uint8.
    """
    return sheet([pictures])


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Put pictures in a grid, each under its title.

    If no picture has a side of 160 pixels they are enlarged by a whole factor
    without interpolation, all of them by the same, so that sizes stay comparable.

    Args:
        rows: Rows of `(title, image)`; an image is `(H, W)`, `(H, W, 1)` or `(H, W, 3)`,
            uint8, uint16 or float in [0, 1] (clipped). Rows may differ in length.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        ValueError: if there is no picture.
    """
    grid = [[(title, _to_rgb(image)) for title, image in row] for row in rows if row]
    if not grid:
        raise ValueError("`rows` must hold at least one picture, got none")
    font = ImageFont.load_default(_FONT_SIZE)
    caption = int(font.getbbox("Äg")[3]) + _GAP // 2
    longest = max(max(image.shape[:2]) for row in grid for _, image in row)
    factor = -(-_MIN_SIDE // longest)
    grid = [[(title, _enlarge(image, factor)) for title, image in row] for row in grid]
    widths = [
        max(
            max(row[column][1].shape[1], round(font.getlength(row[column][0])) + _GAP)
            for row in grid
            if column < len(row)
        )
        for column in range(max(map(len, grid)))
    ]
    heights = [caption + max(image.shape[0] for _, image in row) for row in grid]
    size = (sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _GAP * (len(heights) + 1))
    canvas = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    top = _GAP
    for row, height in zip(grid, heights, strict=True):
        left = _GAP
        for (title, image), width in zip(row, widths, strict=False):
            draw.text((left, top), title, _INK, font)
            canvas.paste(Image.fromarray(image), (left, top + caption))
            left += width + _GAP
        top += height + _GAP
    return np.asarray(canvas)


def split(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Make one picture of two: the left half before, the right half after.

    Args:
        before: Image as for `sheet`.
        after: Image of the same height and width.

    Returns:
        `(H, W, 3)` uint8 with a thin line, black and white, between the halves.

    Raises:
        ValueError: if the sizes differ.
    """
    if before.shape[:2] != after.shape[:2]:
        raise ValueError(
            f"`before` and `after` must have one size, got {before.shape[:2]} and {after.shape[:2]}"
        )
    width = before.shape[1]
    middle, line = width // 2, max(1, width // 400)
    halves = [_to_rgb(before[:, :middle]), _to_rgb(after[:, middle:])]
    picture = np.concatenate(halves, axis=1)
    picture[:, middle - line : middle] = _INK
    picture[:, middle : middle + line] = _BACKGROUND
    return picture


def _to_rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = to_samples(to_float(image), np.uint8)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
