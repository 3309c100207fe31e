"""Files that are there whole or not at all."""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
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
