"""Files that are there whole or not at all, and their hashes."""

import contextlib
import hashlib
import json
import math
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block succeeds.

    The temporary name keeps the suffix, for writers that choose the format by
    it. When the block fails the temporary file is removed and an older file at
    `path` stays as it was.

    Raises:
        OSError: if the folder does not exist or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    # Made here with the mode of any new file: tempfile's are for their owner alone.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def file_sha256(path) -> str:
    """The SHA-256 of a file, in hexadecimal; of a folder, of the names and hashes in it."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file whole or not at all; folders on the way are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` as JSON, whole or not at all; infinity is written as text."""
    write_text(
        path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


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
