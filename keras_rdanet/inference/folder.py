"""Restoring the pictures of a folder, with a journal that a later run resumes."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from keras_rdanet.files import file_sha256
from keras_rdanet.image.io import SUFFIXES
from keras_rdanet.inference.file import FileOptions, restore_file
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.journal import Journal
from keras_rdanet.inference.open import family_members, is_file
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.weights import catalogue

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
# What writers leave behind when they are killed.
_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.part|\.report-\w+\.jsonl")


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
    journal = Journal(target, resume)
    if resume:
        _remove_leftovers(target)

    def run(name):
        start = time.perf_counter()
        record = {"file": name, "status": "ok", "reason": "", "options": digest}
        try:
            record["sha256"] = file_sha256(source / name)
            if (target / name).is_file() and journal.says_done(record):
                return None
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            record |= restore_file(restorer, source / name, target / name, options)
        except Exception as error:  # whatever it is, the other pictures go on
            reason = " ".join(str(error).split()) or type(error).__name__
            seconds = round(time.perf_counter() - start, 3)
            record |= {"status": "failed", "reason": reason, "seconds": seconds}
        return record

    for record in skipped:
        journal.add(record)
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
                journal.add(record)
                new.append(record)
                if on_record is not None:
                    on_record(record)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    journal.rewrite()
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
