"""Which process a temporary file belongs to, and which of them holds a folder.

The name of a temporary file says who writes it, so that what a killed job left behind can be told
from what a running one is writing.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Whether a process on another machine still runs cannot be known. After this time its temporary
# files count as abandoned.
_ABANDONED_SECONDS = 24 * 3600
_OWNED = re.compile(
    r"\.(?P<machine>[\w-]+)\.(?P<pid>\d+)\.(?P<start>\d+)\.[0-9a-f]{12}\.(part|old)(\..*)?",
    re.DOTALL,
)
_OWNED_BY_0_1 = re.compile(r"\.[0-9a-f]{32}(\..*)?", re.DOTALL)


def owned_name(ending: str) -> str:
    """A new hidden name that belongs to this process.

    Args:
        ending: `"part"` and the suffix, for what is being written, or `"old."` and the name of
            what is being replaced.
    """
    pid = os.getpid()
    return f".{_machine()}.{pid}.{_start_time(pid) or 0}.{uuid.uuid4().hex[:12]}.{ending}"


def remove_leftovers(folder: str | os.PathLike, *, recursive: bool = False) -> None:
    """Remove temporary files and folders of processes that no longer run.

    Args:
        folder: Folder to search; nothing happens if it does not exist.
        recursive: Whether to search its sub-folders as well.
    """
    folder = Path(folder)
    for path in list(folder.rglob(".*") if recursive else folder.glob(".*")):
        if not _is_leftover(path):
            continue
        _, was_old, name = path.name.partition(".old.")
        if was_old and not path.with_name(name).exists():  # killed between two renames
            os.rename(path, path.with_name(name))
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: str | os.PathLike, purpose: str) -> Iterator[None]:
    """Hold a lock file while the block lasts; the lock of a process that died is taken over.

    Args:
        path: The lock file, removed afterwards.
        purpose: Purpose of the lock, as the subject of the error message: `"the folder out"`.

    Raises:
        OSError: if another process holds the lock, with its host and process id, or the file
            cannot be written.
    """
    path = Path(path)
    file = _lock(path, purpose)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps what is open
            path.unlink()
        file.close()


def _lock(path: Path, purpose: str) -> BinaryIO:
    while True:
        file = open(path, "a+b")  # noqa: SIM115 (the lock lasts as long as the file is open)
        try:
            if not _try_lock(file):
                file.seek(0)
                owner = file.read(200).decode(errors="replace")
                raise OSError(
                    f"{purpose} is in use by another job{f' ({owner})' if owner else ''}; "
                    "wait for it or stop it."
                )
            # The previous owner may have removed the file before this lock was taken.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
                    file.truncate(0)
                    file.write(f"host {socket.gethostname()}, process {os.getpid()}".encode())
                    file.flush()
                return file
        except BaseException:
            file.close()
            raise
        file.close()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: BinaryIO) -> bool:
        try:
            file.seek(2**30)  # beyond the text, which others may read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # Some network file systems have no locks; the work is not refused for that.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        return True


def _is_leftover(path: Path) -> bool:
    """Whether a path is temporary and its process has ended or must have ended."""
    match = _OWNED.fullmatch(path.name)
    if match is None and _OWNED_BY_0_1.fullmatch(path.name) is None:
        return False
    runs = None
    if match is not None and match["machine"] == _machine():
        runs = _runs(int(match["pid"]), int(match["start"]))
    if runs is None:
        with contextlib.suppress(OSError):
            return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    return not runs


def _machine() -> str:
    """The host and, on Linux, the process namespace: within one, a process id means one process."""
    host = re.sub(r"[^\w-]", "-", socket.gethostname(), flags=re.ASCII)[:64]
    try:
        return f"{host}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return host


def _runs(pid: int, start: int) -> bool | None:
    """Whether a process of this machine runs; `None` if that cannot be known."""
    if sys.platform == "win32":  # there, `os.kill` would end the process
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it belongs to another user
    return _start_time(pid) in (None, start) or start == 0


def _start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; `None` where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])
