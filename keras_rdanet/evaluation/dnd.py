"""The Darmstadt Noise Dataset: its MATLAB files, and what its server takes."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_rdanet.files import open_regular, reading, replacing
from keras_rdanet.hdf5 import contained

# Version of the submission's format.
EVAL_VERSION = "1.0"


def write_submission(
    restore: Callable[[np.ndarray], np.ndarray],
    folder: str | Path,
    target: str | Path,
    *,
    progress: bool = False,
) -> list[Path]:
    """Restore the crops of every image of DND and write what is submitted.

    Each file of `target`, `0001.mat` to `0050.mat`, holds a cell array
    `Idenoised` of single crops in `[0, 1]`, `israw` false and `eval_version`.

    Args:
        restore: Function that maps `(H, W, 3)` float32 in `[0, 1]` to the same
            shape.
        folder: Folder of the data set, with `info.mat` and `images_srgb`.
        target: Folder to write, made if missing; each file is written whole
            or not at all.
        progress: Whether to show a bar.

    Returns:
        The files written.

    Raises:
        ValueError: if a file is not what DND has there.
        OSError: if a file cannot be read or written.
        ImportError: without SciPy or h5py.
    """
    try:
        import h5py  # noqa: F401 - asked for before the work
        from scipy.io import savemat
    except ModuleNotFoundError as error:
        raise ImportError(f"DND needs {error.name}; pip install 'keras-rdanet[train]'.") from error
    folder, target = Path(folder), Path(target)
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; DND is submitted as a folder of files.")
    boxes = read_boxes(folder / "info.mat")
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for number, corners in enumerate(tqdm(boxes, unit="image", disable=not progress), start=1):
        name = f"{number:04}.mat"
        crops = read_crops(folder / "images_srgb" / name, corners)
        restored = np.empty(len(crops), object)
        restored[:] = [np.clip(restore(crop), 0, 1) for crop in crops]
        variables = {"Idenoised": restored, "israw": False, "eval_version": EVAL_VERSION}
        with replacing(target / name) as temporary, open(temporary, "wb") as file:
            savemat(file, variables, do_compression=True)
        written.append(target / name)
    return written


def read_boxes(path: str | Path) -> list[np.ndarray]:
    """Read where the crops of each image lie.

    Returns:
        For each image `(crops, 4)` integers: first row, first column, last
        row, last column, counted from 1, all included.

    Raises:
        ValueError: if this is not `info.mat` of DND.
        OSError: if it cannot be read.
    """
    with _opened(path) as file:
        try:
            references = file["info"]["boundingboxes"][0]
            return [np.rint(np.array(file[one]).T).astype(int) for one in references]
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{path} has no info/boundingboxes, as DND's info.mat has.") from error


def read_crops(path: str | Path, corners: np.ndarray) -> list[np.ndarray]:
    """Cut the crops out of an image.

    Args:
        path: Path of one of `images_srgb/*.mat`.
        corners: Corners of the crops, as `read_boxes` returns them.

    Returns:
        Crops `(h, w, 3)` float32 in `[0, 1]`.

    Raises:
        ValueError: if this is no image of DND, or the crops do not lie inside.
        OSError: if it cannot be read.
    """
    with _opened(path) as file, reading(path, "an image of DND"):
        if "InoisySRGB" not in file or file["InoisySRGB"].shape[0] != 3:
            raise ValueError(f"{path} has no InoisySRGB in three colours, as images of DND have.")
        stored = file["InoisySRGB"]  # MATLAB's order: colour, column, row
        crops = []
        for top, left, bottom, right in corners:
            if not (0 < top <= bottom <= stored.shape[2] and 0 < left <= right <= stored.shape[1]):
                raise ValueError(f"{path} is too small for the crops that info.mat names.")
            crop = np.array(stored[:, left - 1 : right, top - 1 : bottom], np.float32)
            crops.append(np.ascontiguousarray(crop.transpose(2, 1, 0)))
        return crops


@contextlib.contextmanager
def _opened(path):
    """An HDF5 file, which MATLAB's version 7.3 is, opened to be read."""
    import h5py

    with open_regular(path) as stream, contextlib.ExitStack() as stack:
        with reading(path, "a MATLAB file of version 7.3"):
            file = stack.enter_context(h5py.File(stream))
            contained(file, path)
        yield file
