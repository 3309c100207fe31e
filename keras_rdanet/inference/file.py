"""Restoring one picture file: opened once, checked once, restored, written."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_rdanet.image.io import (
    MAX_PIXELS,
    SUFFIXES,
    OpenedPicture,
    Picture,
    PictureHeader,
    check_target,
    open_picture,
    to_float,
    to_samples,
    write_picture,
)
from keras_rdanet.image.resize import upsample
from keras_rdanet.image.sheets import split
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.noise_level import estimate_sigma
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.tasks.gaussian_noise import protocol_noise


@dataclass(frozen=True)
class FileOptions:
    """Options of restoring a file, besides those of the restorer.

    Args:
        strip_metadata: Whether to leave out EXIF, ICC, XMP and resolution.
        add_noise: Sigma, in gray levels of 0-255, of Gaussian noise added to
            the picture first, to try things out; `None` for none.
        seed: Seed of the noise of `add_noise`.
        estimate_noise: Whether to estimate the noise level.
        max_pixels: Largest number of pixels that a picture may have.
    """

    strip_metadata: bool = False
    add_noise: float | None = None
    seed: int = 0
    estimate_noise: bool = False
    max_pixels: int = MAX_PIXELS


def restore_file(
    restorer: Restorer,
    source: Path,
    target: Path,
    options: FileOptions = FileOptions(),
    *,
    compare: Path | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> dict:
    """Restore a file; the target is written whole or not at all, the source never.

    Args:
        restorer: Restorer for the picture.
        source: PNG, JPEG, WebP, TIFF or BMP file to read.
        target: File of one of these formats to write.
        options: Further options, see `FileOptions`.
        compare: File for a picture that is the source in its left half and the result in its right
            half.
        on_tile: Function that is called after each tile with two numbers: the tiles done and all
            tiles.

    Returns:
        `height` and `width` of the result, `model`, `precision`, `seconds`,
        and `sigma` if the noise was estimated.

    Raises:
        ValueError: if a file cannot be read, restored, or held by the target.
        OSError: if a file cannot be written.
    """
    with prepare(source, target, options, compare=compare) as job:
        return job.restore(restorer, on_tile)


def result_name(name: str) -> str:
    """Return the name of the restored copy of a file; a format that is only read becomes PNG."""
    return name if Path(name).suffix.lower() in SUFFIXES else f"{name}.png"


@dataclass(frozen=True)
class FileJob:
    """A picture file that is open and checked, as `prepare` makes it.

    Args:
        picture: The source, of which only the header has been read.
        target: The file to write.
        options: Further options, see `FileOptions`.
        compare: File for the picture of source and result, if any.
    """

    picture: OpenedPicture
    target: Path
    options: FileOptions
    compare: Path | None

    @property
    def header(self) -> PictureHeader:
        """Size, channels and depth of the source."""
        return self.picture.header

    def restore(
        self, restorer: Restorer, on_tile: Callable[[int, int], None] | None = None
    ) -> dict:
        """Restore the picture and write the result; as `restore_file`."""
        start = time.perf_counter()
        function = restorer.function_for(self.header.channels, self.header.dtype)
        self._check_result(function, in_color=restorer.mosaic is not None)
        picture = self.picture.read()
        if self.options.add_noise is not None:
            picture = _with_noise(picture, self.options.add_noise, self.options.seed)
        facts: dict = {}
        if self.options.estimate_noise:
            # A picture can be too small for an estimate; it is restored anyway.
            with contextlib.suppress(ValueError):
                facts["sigma"] = round(estimate_sigma(picture.samples), 2)
        restored = restorer.picture(picture, on_tile, function=function)
        write_picture(self.target, restored, strip_metadata=self.options.strip_metadata)
        if self.compare is not None:
            before = picture.samples
            if function.scale > 1:
                before = upsample(to_float(before), function.scale)
            write_picture(self.compare, Picture(split(before, restored.samples)))
        return {
            **facts,
            "height": restored.samples.shape[0],
            "width": restored.samples.shape[1],
            "model": function.name,
            "precision": function.precision,
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _check_result(self, function: ImageFunction, *, in_color: bool) -> None:
        """Check what headers cannot show: the size and the number of colours of the result."""
        header = self.header
        result = replace(
            header,
            height=header.height * function.scale,
            width=header.width * function.scale,
            channels=3 if in_color else header.channels,
        )
        if result == header:
            return
        if result.height * result.width > self.options.max_pixels:
            raise ValueError(
                f"{self.target} would have {result.width} x {result.height} pixels, more than the "
                f"limit of {self.options.max_pixels}; raise it with --max-pixels."
            )
        check_target(self.target, result)


@contextlib.contextmanager
def prepare(
    source: Path,
    target: Path,
    options: FileOptions = FileOptions(),
    *,
    compare: Path | None = None,
) -> Iterator[FileJob]:
    """Open a picture and check its header and all paths, before any model is needed.

    Args:
        source, target, options, compare: Arguments of `restore_file`.

    Raises:
        ValueError, OSError: as `restore_file`, as far as headers and paths show it.
    """
    files = [source, target] if compare is None else [source, target, compare]
    if len({os.path.realpath(path) for path in files}) < len(files):
        names = ", ".join(map(str, files))
        raise ValueError(f"{names}: these must be different files; none is overwritten.")
    with open_picture(source, max_pixels=options.max_pixels) as picture:
        header = picture.header
        check_target(target, header)
        if compare is not None:
            compared = replace(header, channels=3, dtype=np.dtype("uint8"), has_alpha=False)
            check_target(compare, compared)
        yield FileJob(picture, target, options, compare)


def _with_noise(picture: Picture, sigma: float, seed: int) -> Picture:
    """Add Gaussian noise, clipped and rounded as the dtype has it."""
    samples = picture.samples
    noisy = to_float(samples) + protocol_noise(samples.shape, sigma, seed)
    return replace(picture, samples=to_samples(noisy, samples.dtype))
