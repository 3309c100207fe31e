"""The eight flips and rotations, padding and cropping, on channel-last arrays.

Everything takes `(H, W, C)` and `(N, H, W, C)` arrays of any dtype.
"""

import numpy as np

# In the order of the TSP-RDANet training augmentation and x8 self-ensemble.
DIHEDRAL = (
    "identity",
    "transpose",
    "flip rows",
    "rotate clockwise",
    "flip columns",
    "rotate counter-clockwise",
    "rotate by 180 degrees",
    "anti-transpose",
)
_UNDO = (0, 1, 2, 5, 4, 3, 6, 7)


def dihedral(image: np.ndarray, mode: int) -> np.ndarray:
    """Turn an image into one of its eight orientations, as a view.

    Args:
        image: `(H, W, C)` or `(N, H, W, C)`.
        mode: 0 to 7, an index into `DIHEDRAL`; the odd ones swap H and W.

    Raises:
        ValueError: if `mode` is not 0 to 7.

    Reference:
        The table is that of DnCNN-style PyTorch denoisers ("augment_img").
    """
    if mode not in range(8):
        raise ValueError(f"`mode` must be 0 to 7, got {mode}")
    if mode in (1, 3, 5, 7):
        image = image.swapaxes(-3, -2)
    if mode in (2, 5, 6, 7):
        image = image[..., ::-1, :, :]
    if mode in (3, 4, 6, 7):
        image = image[..., ::-1, :]
    return image


def undo_dihedral(image: np.ndarray, mode: int) -> np.ndarray:
    """Undo `dihedral(image, mode)`, as a view.

    Raises:
        ValueError: if `mode` is not 0 to 7.
    """
    return dihedral(image, _UNDO[mode] if mode in range(8) else mode)


def pad_to_multiple(
    image: np.ndarray, multiple: int, min_size: int = 1
) -> tuple[np.ndarray, tuple[int, int]]:
    """Reflect an image at the bottom and the right until its sides are multiples.

    A side shorter than its padding is reflected again and again, and a single
    row or column is repeated, so any size works.

    Args:
        image: `(H, W, C)` or `(N, H, W, C)`.
        multiple: Number that divides height and width afterwards.
        min_size: The least height and width.

    Returns:
        The padded image, or `image` itself if nothing was missing, and
        `(H, W)` for `crop`.
    """
    height, width = image.shape[-3:-1]
    bottom, right = (
        -(-max(side, min_size) // multiple) * multiple - side for side in (height, width)
    )
    if bottom or right:
        outer = [(0, 0)] * (image.ndim - 3)
        image = np.pad(image, [*outer, (0, bottom), (0, right), (0, 0)], mode="reflect")
    return image, (height, width)


def crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the top left `size = (H, W)` of an image, as a view."""
    height, width = size
    return image[..., :height, :width, :]
