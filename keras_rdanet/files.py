"""Writing files whole or not at all, reading them safely, and their hashes.

Every file of this package is written beside its place, checked, flushed to the disk and only
then renamed.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from keras_rdanet.ownership import owned_name

_BUFFER = 2**20
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block succeeds.

    The temporary name keeps the suffix, for writers that choose the format by
    it. When the block fails the temporary file is removed and an older file at
    `path` is left unchanged. A symbolic link is kept; the file it leads to is replaced.

    Raises:
        OSError: if the folder does not exist or cannot be written, the disk is full, or what
            is at `path` is not a regular file; the message names `path`.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(owned_name(f"part{target.suffix}"))
    with _failures_named(path, temporary):
        if target.exists() and not target.is_file():
            raise OSError("it is not a regular file")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {target.parent}")
        # Made here with the mode of any new file: tempfile's are for their owner alone.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            _flush_file(temporary)
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
            _flush_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Give a stream whose content is at `path` when the block succeeds; see `replacing`.

    Every write is checked. The stream can be read and sought, but has no `fileno`: libraries
    that write to a descriptor themselves may overlook a full disk, as Pillow does.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as temporary, _CheckedFile(io.FileIO(temporary, "w+"), _BUFFER) as stream:
        yield stream


def write_bytes(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        if (written := temporary.stat().st_size) != len(content):
            raise OSError(f"only {written} of {len(content)} B were written")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all; folders on the way are made.

    Raises:
        OSError: as `replacing`.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # File names in reports need not be valid Unicode.
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` as JSON, whole or not at all; infinity is written as text.

    Raises:
        OSError: as `replacing`.
    """
    write_text(
        path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block succeeds.

    An older folder at `path` is removed once the new one is in its place.

    Raises:
        OSError: as `replacing`.
    """
    path = Path(path)
    temporary = path.with_name(owned_name(f"part{path.suffix}"))
    with _failures_named(path, temporary):
        temporary.mkdir()
        try:
            yield temporary
            for made in temporary.rglob("*"):
                (_flush_folder if made.is_dir() else _flush_file)(made)
            _flush_folder(temporary)
            if path.exists():
                _swap(temporary, path)
            else:
                os.rename(temporary, path)
            _flush_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def working_folder(parent: str | os.PathLike) -> Iterator[Path]:
    """Give a hidden folder in `parent` for files under way, removed when the block ends.

    If the process is killed, `ownership.remove_leftovers` removes it.

    Raises:
        OSError: if it cannot be made.
    """
    folder = Path(parent, owned_name("part"))
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    old = path.with_name(owned_name(f"old.{path.name}"))
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


class _CheckedFile(io.BufferedRandom):
    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@contextlib.contextmanager
def _failures_named(path: str | os.PathLike, temporary: Path) -> Iterator[None]:
    """Make errors of the system name the file that was to be written, and not the temporary."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(temporary) not in str(error.filename):
            raise  # about another file
        reason = error.strerror or str(error)
        named = type(error)(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}")
        named.errno = error.errno
        raise named from error


def _flush_file(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    # So that the new name survives a power failure, where the system can do that.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_regular(path: str | os.PathLike) -> io.BufferedReader:
    """Open a file for reading that is neither a pipe, a device nor a socket.

    Opening one of those could wait, or be read, for ever.

    Raises:
        OSError: if it is no regular file or cannot be read; the message names it.
    """
    _check_regular(os.stat(path), path)
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    try:
        _check_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(status: os.stat_result, path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path} is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file.")


@contextlib.contextmanager
def reading(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises about a file into a `ValueError` that names it.

    Parsers raise anything on damaged bytes: `KeyError`, `zlib.error`, `RecursionError`,
    `OverflowError`. Errors of the system, of a missing package, and values that are refused in
    words that name the file pass as they are.

    Args:
        path: The file.
        kind: Kind of file that it should be, as in `"a checkpoint"`.

    Raises:
        ValueError: if the block raises any other error.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        named = str(path) in str(error)
        if isinstance(error, OSError) and (error.filename is not None or named):
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise OSError(error.errno, error.strerror, str(path)) from error
        if isinstance(error, ValueError) and named:
            raise
        reason = one_line(str(error))[:200] or type(error).__name__
        if isinstance(error, MemoryError):
            reason = "it asks for more memory than there is"
        raise ValueError(f"{path} is damaged or not {kind}: {reason}") from error


def read_bytes(path: str | os.PathLike) -> bytes:
    """Return the content of a regular file; errors as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_json(path: str | os.PathLike):
    """Read a JSON file.

    Raises:
        ValueError: if it is damaged; the message names it.
        OSError: if it cannot be read.
    """
    with reading(path, "a JSON file"):
        return json.loads(read_bytes(path))


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal; of a folder, of the names and hashes in it.

    Raises:
        OSError: if something cannot be read or is not a regular file.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_line(text: str) -> str:
    """Return a text with line breaks and other control characters, as names may hold, escaped."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text.strip())


def _plain(value):
    """Turn NumPy scalars into numbers, and what JSON cannot hold into text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(value)
    return value
