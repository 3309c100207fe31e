"""Restoring picture files: one of them, or a folder with a report that a later run resumes."""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_rdanet.files import file_sha256, replacing
from keras_rdanet.image.io import (
    MAX_PIXELS,
    SUFFIXES,
    Picture,
    PictureHeader,
    check_target,
    probe_size,
    read_picture,
    to_float,
    to_samples,
    write_picture,
)
from keras_rdanet.image.resize import upsample
from keras_rdanet.image.sheets import split
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.noise_level import estimate_sigma
from keras_rdanet.inference.open import family_members, is_file
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.tasks.gaussian_noise import protocol_noise
from keras_rdanet.weights import catalogue

REPORT = "report.jsonl"

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
# What writers leave behind when they are killed.
_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.part|\.report-\w+\.jsonl")


@dataclass(frozen=True)
class FileOptions:
    """What happens to a file besides restoring.

    Args:
        strip_metadata: Leave EXIF, ICC, XMP and resolution out.
        add_noise: Sigma, in gray levels of 0-255, of Gaussian noise added to
            the picture first, to try things out; `None` for none.
        seed: Of that noise.
        estimate_noise: Estimate the noise level.
        max_pixels: The most pixels a picture may have.
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
        restorer: Restores the picture.
        source: A PNG, JPEG, WebP, TIFF or BMP.
        target: A file of one of these kinds.
        options: See `FileOptions`.
        compare: Where to write a picture that is the source in its left half
            and the result in its right half.
        on_tile: Called with the tiles done and their number.

    Returns:
        `height` and `width` of the result, `model`, `precision`, `seconds`,
        and `sigma` if the noise was estimated.

    Raises:
        ValueError: if a file cannot be read, restored, or held by the target.
        OSError: if a file cannot be written.
    """
    start = time.perf_counter()
    check_file(source, target, options, compare=compare)
    picture = read_picture(source, max_pixels=options.max_pixels)
    function = restorer.function_for(picture.samples.shape[-1], picture.samples.dtype)
    _check_result(restorer, function, picture, target, options)
    if options.add_noise is not None:
        picture = _with_noise(picture, options.add_noise, options.seed)
    facts: dict = {}
    if options.estimate_noise:
        # Too small a picture has no estimate, which is no reason not to restore it.
        with contextlib.suppress(ValueError):
            facts["sigma"] = round(estimate_sigma(picture.samples), 2)
    restored = restorer.picture(picture, on_tile)
    write_picture(target, restored, strip_metadata=options.strip_metadata)
    if compare is not None:
        before = picture.samples
        if function.scale > 1:
            before = upsample(to_float(before), function.scale)
        write_picture(compare, Picture(split(before, restored.samples)))
    return {
        **facts,
        "height": restored.samples.shape[0],
        "width": restored.samples.shape[1],
        "model": function.name,
        "precision": function.precision,
        "seconds": round(time.perf_counter() - start, 3),
    }


def check_file(
    source: Path,
    target: Path,
    options: FileOptions = FileOptions(),
    *,
    compare: Path | None = None,
) -> PictureHeader:
    """Find what makes `restore_file` fail as far as headers and paths show it.

    Returns:
        What the header of `source` says.

    Raises:
        ValueError, OSError: as `restore_file`.
    """
    files = [source, target] if compare is None else [source, target, compare]
    if len({path.resolve() for path in files}) < len(files):
        names = ", ".join(map(str, files))
        raise ValueError(f"{names}: these must be different files; none is overwritten.")
    header = probe_size(source, max_pixels=options.max_pixels)
    check_target(target, header)
    if compare is not None:
        check_target(compare, replace(header, channels=3, dtype=np.dtype("uint8"), has_alpha=False))
    return header


def _check_result(restorer, function, picture, target, options):
    """Raise for what `check_file` cannot know: how large the result is, and in how many colours."""
    header = picture.header
    result = replace(
        header,
        height=header.height * function.scale,
        width=header.width * function.scale,
        channels=3 if restorer.mosaic else header.channels,
    )
    if result.height * result.width > options.max_pixels:
        raise ValueError(
            f"{target} would have {result.width} x {result.height} pixels, more than the limit of "
            f"{options.max_pixels}; raise it with --max-pixels."
        )
    check_target(target, result)


def restore_folder(
    restorer: Restorer,
    source: Path,
    target: Path,
    options: FileOptions = FileOptions(),
    *,
    recursive: bool = False,
    resume: bool = False,
    jobs: int = 1,
    on_record: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Restore the pictures of a folder into another, under the same names.

    No picture stops the others. `report.jsonl` in `target` says of every file
    what became of it: `file`, `status` (`"ok"`, `"failed"`, `"skipped"`),
    `reason`, and for restored ones what `restore_file` returns, the hash of
    the file and of the options. A line is added as soon as a file is done;
    the finished report has one line a file, in order of names.

    Args:
        restorer: Restores the pictures.
        source: The folder to read; hidden files and other kinds are skipped.
        target: The folder to write, made if missing; may lie in `source`.
        options: See `FileOptions`.
        recursive: Sub-folders too, which are kept.
        resume: Leave out what the report calls done with this very content,
            model and options, and whose result is still there.
        jobs: Threads that read and write files around the one network.
        on_record: Called with each new line of the report.

    Returns:
        The new lines of the report.

    Raises:
        ValueError: if there is no picture, or a picture or two would be overwritten.
        OSError: if the folders cannot be read or written.
    """
    names, skipped = find_pictures(source, target, recursive)
    _check_apart(source, target, names)
    target.mkdir(parents=True, exist_ok=True)
    digest = _digest(restorer, options)
    report = _Report(target / REPORT, resume)
    if resume:
        _remove_leftovers(target)

    def run(name):
        start = time.perf_counter()
        record = {"file": name, "status": "ok", "reason": "", "options": digest}
        try:
            record["sha256"] = file_sha256(source / name)
            if (target / name).is_file() and report.says_done(record):
                return None
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            record |= restore_file(restorer, source / name, target / name, options)
        except Exception as error:  # whatever it is, the other pictures go on
            reason = " ".join(str(error).split()) or type(error).__name__
            seconds = round(time.perf_counter() - start, 3)
            record |= {"status": "failed", "reason": reason, "seconds": seconds}
        return record

    for record in skipped:
        report.add(record)
    new = list(skipped)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, name) for name in names]
        try:
            for future in tqdm(
                as_completed(futures), total=len(names), unit="picture", disable=None
            ):
                record = future.result()
                if record is None:
                    continue
                report.add(record)
                new.append(record)
                if on_record is not None:
                    on_record(record)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    report.rewrite()
    return new


def find_pictures(
    source: Path, target: Path, recursive: bool = False
) -> tuple[list[str], list[dict]]:
    """List what there is to restore in a folder.

    Args:
        source: The folder.
        target: Left out if it lies in `source`.
        recursive: Sub-folders too; links to folders are not followed.

    Returns:
        The names of the pictures, relative to `source` and in order, and a
        record, as in the report, of each file and folder left out.

    Raises:
        ValueError: if there is no picture, or `target` is a file.
        OSError: if a folder cannot be read.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; the pictures of a folder go to a folder.")
    names: list[str] = []
    skipped: list[dict] = []

    def fail(error):
        raise error

    def skip(path, reason):
        name = path.relative_to(source).as_posix() + "/" * path.is_dir()
        skipped.append({"file": name, "status": "skipped", "reason": reason})

    for folder, folders, files in os.walk(source, onerror=fail):
        inside = []
        for name in sorted(folders):
            path = Path(folder, name)
            if path.resolve() == target.resolve():
                continue
            if _is_hidden(name):
                skip(path, "hidden or of the system")
            elif path.is_symlink():
                skip(path, "a link to a folder")
            elif not recursive:
                skip(path, "a folder; --recursive includes it")
            else:
                inside.append(name)
        folders[:] = inside
        for name in sorted(files):
            path = Path(folder, name)
            if _is_hidden(name):
                skip(path, "hidden or of the system")
            elif path.suffix.lower() not in SUFFIXES:
                skip(path, f"not one of {' '.join(SUFFIXES)}")
            else:
                names.append(path.relative_to(source).as_posix())
    if not names:
        raise ValueError(
            f"There is no picture ({' '.join(SUFFIXES)}) in {source}"
            + ("." if recursive else "; --recursive looks into sub-folders.")
        )
    return sorted(names), skipped


class _Report:
    """The lines of `report.jsonl`, the latest of each file."""

    def __init__(self, path: Path, resume: bool):
        self._path = path
        self._records: dict[str, dict] = {}
        if resume and path.exists():
            self._read()
        self.rewrite()

    def _read(self):
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                # What failed or was skipped is judged again.
                if record["status"] == "ok":
                    self._records[record["file"]] = record
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # cut short when the run was killed

    def says_done(self, record: dict) -> bool:
        """Whether a file is done with this content, model and options."""
        known = self._records.get(record["file"], {})
        return all(known.get(key) == record[key] for key in ("status", "sha256", "options"))

    def add(self, record: dict) -> None:
        """Add a line that survives whatever happens to this process."""
        self._records[record["file"]] = record
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def rewrite(self) -> None:
        """Write one line a file, in order of names."""
        lines = [_line(self._records[name]) for name in sorted(self._records)]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


def _line(record):
    # ASCII: a file name need not be valid Unicode, the report stays readable.
    return json.dumps(record) + "\n"


def _digest(restorer: Restorer, options: FileOptions) -> str:
    """A hash of all that decides what a file becomes, but for the file itself."""
    model = restorer.model
    if isinstance(model, ImageFunction):
        identity = [model.name]
    elif is_file(model):
        identity = [file_sha256(model)]
    else:
        members = family_members(model) or (str(model),)
        identity = [catalogue.resolve(member).sha256 for member in members]
    decisive = {
        "model": identity,
        "tile": restorer.tile,
        "precision": restorer.precision,
        "strength": restorer.strength,
        "self_ensemble": restorer.self_ensemble,
        **({"mosaic": restorer.mosaic} if restorer.mosaic else {}),
        "strip_metadata": options.strip_metadata,
        "add_noise": options.add_noise,
        "seed": options.seed,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _check_apart(source: Path, target: Path, names: Iterable[str]) -> None:
    """Raise if a result would replace a picture of `source` or another result."""
    sources = {(source / name).resolve(): name for name in names}
    targets: dict[Path, str] = {}
    for name in sources.values():
        path = (target / name).resolve()
        if path in sources:
            raise ValueError(
                f"{source / sources[path]} would be overwritten; write to another folder."
            )
        if path in targets:
            raise ValueError(
                f"{targets[path]} and {name} would both be written to {path}; "
                "write to another folder."
            )
        targets[path] = name


def _remove_leftovers(target: Path) -> None:
    for path in target.rglob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def _with_noise(picture: Picture, sigma: float, seed: int) -> Picture:
    """Add Gaussian noise, clipped and rounded as the dtype has it."""
    samples = picture.samples
    noisy = to_float(samples) + protocol_noise(samples.shape, sigma, seed)
    return replace(picture, samples=to_samples(noisy, samples.dtype))
