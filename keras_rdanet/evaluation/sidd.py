"""The blocks of the SIDD benchmark: MATLAB files of image blocks, and what its servers take."""

import base64
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_rdanet.files import open_regular, replacing
from keras_rdanet.image.io import PictureHeader, to_float, to_samples


@dataclass(frozen=True)
class BlockPairs:
    """A paired source of the noisy and the clean blocks of SIDD's validation set.

    Args:
        noisy: Path of `ValidationNoisyBlocksSrgb.mat`.
        clean: Path of `ValidationGtBlocksSrgb.mat`.

    Raises:
        ValueError: when read, if a file holds no blocks, or the two differ in shape.
        OSError: if it cannot be read.
        ImportError: without SciPy.
    """

    noisy: Path
    clean: Path
    paired = True

    @cached_property
    def _blocks(self) -> tuple[np.ndarray, np.ndarray]:
        noisy, clean = read_blocks(self.noisy), read_blocks(self.clean)
        if noisy.shape != clean.shape:
            raise ValueError(
                f"{self.noisy} holds blocks {noisy.shape} and {self.clean} blocks {clean.shape}; "
                "they are not of one set."
            )
        return noisy, clean

    def __len__(self) -> int:
        images, blocks = self._blocks[0].shape[:2]
        return images * blocks

    def name(self, index: int) -> str:
        """Return the numbers of image and block, from 1."""
        image, block = divmod(index, self._blocks[0].shape[1])
        return f"{image + 1:04}_{block + 1:02}"

    def headers(self, index: int) -> tuple[PictureHeader, PictureHeader]:
        """Return what `read` returns, without the samples."""
        height, width, channels = self._blocks[0].shape[2:]
        header = PictureHeader(height, width, channels, np.dtype(np.uint8), has_alpha=False)
        return header, header

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a noisy and its clean block, `(H, W, 3)` uint8."""
        place = divmod(index, self._blocks[0].shape[1])
        noisy, clean = self._blocks
        return noisy[place], clean[place]


def read_blocks(path: str | Path) -> np.ndarray:
    """Read the one array of blocks in a MATLAB file, `(images, blocks, H, W, 3)` uint8.

    Raises:
        ValueError: if there is no such array.
        OSError: if the file cannot be read.
        ImportError: without SciPy.
    """
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ImportError("MATLAB files need SciPy; pip install 'keras-rdanet[train]'.") from error
    with open_regular(path) as file:
        try:
            variables = loadmat(file)
        except Exception as error:  # of several kinds, for what is no such file
            raise ValueError(f"{path} is not a MATLAB file of version 5 to 7: {error}") from error
    blocks = [value for value in variables.values() if getattr(value, "ndim", 0) == 5]
    if len(blocks) != 1 or blocks[0].dtype != np.uint8 or blocks[0].shape[-1] != 3:
        raise ValueError(
            f"{path} has no array of blocks (images, blocks, height, width, 3) uint8, as "
            "BenchmarkNoisyBlocksSrgb.mat has."
        )
    return blocks[0]


def write_submission(
    restore: Callable[[np.ndarray], np.ndarray],
    noisy: str | Path,
    target: str | Path,
    *,
    method: str,
    progress: bool = False,
) -> None:
    """Restore the benchmark's blocks and write what is submitted, whole or not at all.

    A `.mat` file is that of the benchmark's own code: a cell array
    `DenoisedBlocksSrgb` of single blocks in `[0, 1]`, `TimeMPSrgb` in seconds
    per megapixel and `OptionalData`. A `.csv` file is that of its competition
    on Kaggle: `ID,BLOCK`, blocks as uint8 in base64.

    Args:
        restore: Function that maps `(H, W, 3)` float32 in `[0, 1]` to the same shape.
        noisy: Path of `BenchmarkNoisyBlocksSrgb.mat`.
        target: Path of the `.mat` or `.csv` file to write.
        method: Name of the method.
        progress: Whether to show a bar.

    Raises:
        ValueError: if `noisy` holds no blocks, or the suffix is another.
        OSError: if a file cannot be read or written.
        ImportError: without SciPy.
    """
    target = Path(target)
    write = {".mat": _write_mat, ".csv": _write_csv}.get(target.suffix.lower())
    if write is None:
        raise ValueError(f"{target} must end in .mat or .csv.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}")
    blocks = read_blocks(noisy)
    images, count, height, width, _ = blocks.shape
    restored = np.empty((images, count), object)
    seconds = 0.0
    for place in tqdm(list(np.ndindex(images, count)), unit="block", disable=not progress):
        start = time.perf_counter()
        block = restore(to_float(blocks[place]))
        seconds += time.perf_counter() - start
        restored[place] = np.clip(block, 0, 1)
    megapixels = images * count * height * width / 1024**2
    with replacing(target) as temporary:
        write(temporary, restored, seconds / megapixels, method)


def _write_mat(path, restored, seconds, method):
    from scipy.io import savemat

    variables = {
        "DenoisedBlocksSrgb": restored,
        "TimeMPSrgb": seconds,
        "OptionalData": {"MethodName": method},
    }
    with open(path, "wb") as file:  # by name, scipy would add a suffix
        savemat(file, variables, do_compression=True)


def _write_csv(path, restored, seconds, method):
    del seconds, method
    with open(path, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ID", "BLOCK"])
        for index, block in enumerate(restored.ravel()):
            samples = to_samples(block, np.uint8)
            writer.writerow([index, base64.b64encode(samples.tobytes()).decode()])
