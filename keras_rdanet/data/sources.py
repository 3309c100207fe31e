"""Where training images come from: folders of clean images and folders of pairs."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from keras_rdanet.image.io import SUFFIXES, PictureError, PictureHeader, probe_size, read_picture
from keras_rdanet.tasks import registry


@dataclass(frozen=True)
class ImageSource:
    """Clean images in files.

    Args:
        paths: The files, in the order that numbers them.
    """

    paths: tuple[Path, ...]
    paired = False

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path of an image."""
        return str(self.paths[index])

    def headers(self, index: int) -> tuple[PictureHeader]:
        """Return the header of an image."""
        return (probe_size(self.paths[index]),)

    def read(self, index: int) -> tuple[np.ndarray]:
        """Return `(target,)`, `(H, W, C)` in the file's own dtype."""
        return (_samples(self.paths[index]),)


@dataclass(frozen=True)
class PairSource:
    """Degraded images in files, with their targets.

    Args:
        degraded: The degraded files, in the order that numbers the pairs.
        target: The target of each.
    """

    degraded: tuple[Path, ...]
    target: tuple[Path, ...]
    paired = True

    def __len__(self) -> int:
        return len(self.target)

    def name(self, index: int) -> str:
        """Return the path of a degraded image."""
        return str(self.degraded[index])

    def headers(self, index: int) -> tuple[PictureHeader, PictureHeader]:
        """Return the headers of the degraded image and of the target."""
        return probe_size(self.degraded[index]), probe_size(self.target[index])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `(degraded, target)`, each `(H, W, C)` in the file's own dtype."""
        return _samples(self.degraded[index]), _samples(self.target[index])


def folder(path: str | PathLike, recursive: bool = True) -> ImageSource:
    """Find the images of a folder, sorted by path.

    Raises:
        ValueError: if there is no such folder or no image in it.
    """
    return ImageSource(tuple(list_images(path, recursive)))


def pairs(degraded_dir: str | PathLike, target_dir: str | PathLike, scale: int = 1) -> PairSource:
    """Match two folders by stem: `a/x.png` belongs to `a/x.jpg`.

    Args:
        degraded_dir: Folder of the degraded images.
        target_dir: Folder of their targets.
        scale: Size of a target divided by the size of its degraded image.

    Raises:
        ValueError: if a file has no partner, two files share a stem, or the
            sizes or channels of two partners do not fit. The message lists them.
    """
    degraded, degraded_faults = _by_stem(degraded_dir)
    target, target_faults = _by_stem(target_dir)
    faults = degraded_faults + target_faults
    faults += [
        f"{degraded[s]}: no partner in {target_dir}"
        for s in sorted(degraded.keys() - target.keys())
    ]
    faults += [
        f"{target[s]}: no partner in {degraded_dir}"
        for s in sorted(target.keys() - degraded.keys())
    ]
    stems = sorted(degraded.keys() & target.keys())
    partners = [(degraded[stem], target[stem]) for stem in stems]
    return _pair_source(partners, scale, faults, f"{degraded_dir} and {target_dir}")


def layout(
    name: str,
    path: str | PathLike,
    *,
    split: Literal["train", "test"] | None = None,
    scale: int = 1,
) -> PairSource:
    """Find the pairs of a public set in the folders that it is published in.

    Targets without a degraded image, such as targets of another scale in RealSR,
    are left out.

    Args:
        name: A public set of a task, see `tasks.registry.layouts`: `sidd` (SIDD
            Medium or Small, sRGB), `polyu` (its cropped images), `cc`,
            `realsr_x2` to `realsr_x4`, `gopro`, `rain100` (Rain100L or H),
            `rain13k` (as MPRNet has it, `input` and `target`).
        path: The set's folder, or one in it.
        split: Folder below `path`, `"train"` or `"test"`, for sets that have both.
        scale: Size of a target divided by the size of its degraded image. It is 1
            for most published pairs, including those of RealSR.

    Raises:
        ValueError: if the name is unknown, there are no such files, or
            as in `pairs`.
    """
    _, published = registry.layout(name)
    patterns = (published.degraded, published.target)
    root = Path(path)
    degraded: dict[tuple, Path] = {}
    target: dict[tuple, Path] = {}
    faults = []
    for image in list_images(root):
        place = image.relative_to(root).with_suffix("").as_posix().lower()
        if split is not None and {"train": "test", "test": "train"}[split] in place.split("/"):
            continue
        for pattern, found in zip(patterns, (degraded, target), strict=True):
            match = re.fullmatch(pattern, place)
            if match is None:
                continue
            if match.groups() in found:
                faults.append(f"{found[match.groups()]} and {image} are the same image of a pair")
            found[match.groups()] = image
            break
    if not degraded:
        of = f" ({split})" if split else ""
        raise ValueError(f"{root} has no degraded image{of} where the layout {name} has them.")
    faults += [f"{degraded[key]}: no partner" for key in degraded.keys() - target.keys()]
    partners = [(degraded[key], target[key]) for key in degraded if key in target]
    return _pair_source(partners, scale, faults, str(root))


def shorten(lines: Sequence[str], limit: int = 10) -> str:
    """Join messages, at most `limit` of them, saying how many were left out."""
    rest = len(lines) - limit
    return "; ".join(lines[:limit]) + (f"; and {rest} more" if rest > 0 else "")


def list_images(path: str | PathLike, recursive: bool = True) -> list[Path]:
    """List the images of a folder by their suffix, sorted by path.

    Raises:
        ValueError: if there is no such folder or no image in it.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder.")
    found = root.rglob("*") if recursive else root.glob("*")
    # Hidden files are no pictures: macOS puts a "._x.jpg" beside x.jpg.
    visible = (p for p in found if not p.name.startswith("."))
    images = [p for p in visible if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not images:
        raise ValueError(f"No image in {root}: looked for {', '.join(sorted(SUFFIXES))}.")
    return sorted(images, key=lambda p: p.relative_to(root).parts)


def _by_stem(root: str | PathLike) -> tuple[dict[str, Path], list[str]]:
    groups = defaultdict(list)
    for path in list_images(root):
        groups[path.relative_to(root).with_suffix("").as_posix()].append(path)
    faults = [
        f"{' and '.join(map(str, paths))} share a stem" for paths in groups.values() if paths[1:]
    ]
    return {stem: paths[0] for stem, paths in groups.items()}, faults


def _pair_source(partners, scale: int, faults: list[str], place: str) -> PairSource:
    """Check the sizes of partners; raise if there are faults, also those found before."""
    faults = faults + [
        f for degraded, target in partners for f in _differences(degraded, target, scale)
    ]
    if faults:
        plural = "es" if len(faults) > 1 else ""
        raise ValueError(f"{len(faults)} mismatch{plural} in {place}: {shorten(faults)}.")
    return PairSource(*map(tuple, zip(*partners, strict=True)))


def _differences(degraded: Path, target: Path, scale: int) -> list[str]:
    try:
        a, b = probe_size(degraded), probe_size(target)
    except PictureError as error:
        return [str(error)]
    faults = []
    if (scale * a.height, scale * a.width) != (b.height, b.width):
        times = f" instead of {scale} times that" if scale > 1 else ""
        faults.append(
            f"{degraded} is {a.width}x{a.height}, {target} is {b.width}x{b.height}{times}"
        )
    if a.channels != b.channels:
        faults.append(f"{degraded} has {a.channels} channels, {target} has {b.channels}")
    return faults


def _samples(path: Path) -> np.ndarray:
    return read_picture(path).samples
