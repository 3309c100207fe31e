"""Restoring the pictures of a folder, with a journal that a later run resumes."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

from keras_rdanet.files import file_sha256, one_line
from keras_rdanet.image.io import READ_SUFFIXES
from keras_rdanet.inference.file import FileOptions, restore_file, result_name
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.journal import Journal
from keras_rdanet.inference.open import family_members, is_file
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.ownership import remove_leftovers
from keras_rdanet.progress import progress
from keras_rdanet.weights import catalogue

# How long an interrupted job waits for the tiles that are being computed.
STOP_SECONDS = 1.5

# The reason in the report for files that are not meant to be restored.
HIDDEN = "hidden or of the system"

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}


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

    Pictures of a format that is only read become PNGs, `a.gif` for example `a.gif.png`.
    A picture that fails does not stop the others. `report.jsonl` in `target` records the
    result for every file: `file`, `status` (`"ok"`, `"failed"`, `"skipped"`),
    `reason`, and for restored ones what `restore_file` returns, the hash of
    the file and of the options. A line is added as soon as a file is done;
    the finished report has one line a file, in order of names. While the job
    runs the report is locked. After Ctrl-C it ends within two seconds, or when
    the tile that is being computed is done; nothing half done is left, and
    `resume` goes on.

    Args:
        restorer: Restores the pictures.
        source: Folder to read; hidden files and files of other formats are skipped.
        target: Folder to write, made if it is missing; it may lie in `source`.
        options: Options of restoring a file, see `FileOptions`.
        recursive: Whether to include sub-folders, which are made in `target` as well.
        resume: Whether to leave out files that the report calls done with the same content, model
            and options, and whose result still exists.
        jobs: Number of threads that read and write files around the one network.
        on_record: Function that is called with the record of each file as soon as it exists.

    Returns:
        The records of all files, as they were done: the new lines of the report, and, with
        `resume`, a record with the status `"done"` for each file that was left out.

    Raises:
        ValueError: if there is no picture, or a picture or two would be overwritten.
        OSError: if the folders cannot be read or written, or another job is writing to `target`.
    """
    names, skipped = find_pictures(source, target, recursive)
    _check_apart(source, target, names)
    target.mkdir(parents=True, exist_ok=True)
    digest = _digest(restorer, options)
    with Journal.opened(target, resume=resume) as journal, progress(len(names), "picture") as bar:
        remove_leftovers(target, recursive=True)
        stopping = threading.Event()

        def on_tile(done, total):
            if stopping.is_set():
                raise RuntimeError("stopped")
            bar.update(0)

        def run(name):
            start = time.perf_counter()
            result = target / result_name(name)
            record = {"file": name, "status": "ok", "reason": "", "options": digest}
            try:
                record["sha256"] = file_sha256(source / name)
                if result.is_file() and journal.says_done(record):
                    return {**record, "status": "done"}
                result.parent.mkdir(parents=True, exist_ok=True)
                record |= restore_file(restorer, source / name, result, options, on_tile=on_tile)
            except Exception as error:  # whatever it is, the other pictures go on
                reason = one_line(str(error)) or type(error).__name__
                seconds = round(time.perf_counter() - start, 3)
                record |= {"status": "failed", "reason": reason, "seconds": seconds}
            return record

        def note(record):
            records.append(record)
            if record["status"] != "done":
                journal.add(record)
            if on_record is not None:
                on_record(record)

        records: list[dict] = []
        futures: list[Future] = []
        pool = ThreadPoolExecutor(jobs)
        try:
            for record in skipped:
                note(record)
            futures = [pool.submit(run, name) for name in names]
            for future in as_completed(futures):
                note(future.result())
                bar.update()
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            # A tile that takes longer cannot be interrupted.
            wait([future for future in futures if not future.cancelled()], STOP_SECONDS)
            raise
        pool.shutdown()
        journal.rewrite()
    return records


def find_pictures(
    source: Path, target: Path, recursive: bool = False
) -> tuple[list[str], list[dict]]:
    """List what there is to restore in a folder.

    Args:
        source: The folder.
        target: Folder of the results, which is left out if it lies in `source`.
        recursive: Whether to include sub-folders; links to folders are not followed.

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
                skip(path, HIDDEN)
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
                skip(path, HIDDEN)
            elif path.suffix.lower() not in READ_SUFFIXES:
                skip(path, f"not one of {' '.join(READ_SUFFIXES)}")
            else:
                names.append(path.relative_to(source).as_posix())
    if not names:
        raise ValueError(
            f"There is no picture ({' '.join(READ_SUFFIXES)}) in {source}"
            + ("." if recursive else "; --recursive looks into sub-folders.")
        )
    return sorted(names), skipped


def _digest(restorer: Restorer, options: FileOptions) -> str:
    """A hash of the model and of all options that the result depends on."""
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
    # realpath, since `resolve` fails on links that go round in circles.
    sources = {os.path.realpath(source / name): name for name in names}
    targets: dict[str, str] = {}
    for name in sources.values():
        path = os.path.realpath(target / result_name(name))
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


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES
