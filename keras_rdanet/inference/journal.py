"""The journal of a folder job, `report.jsonl`: a line for each file, which a later run resumes."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from keras_rdanet.files import write_text
from keras_rdanet.ownership import locked

REPORT = "report.jsonl"


class Journal:
    """The lines of `report.jsonl`, the latest of each file; one job at a time has it open.

    Args:
        path: Path of the `report.jsonl`.
    """

    def __init__(self, path: Path):
        self._path = path
        self._records: dict[str, dict] = {}

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path, *, resume: bool) -> Iterator["Journal"]:
        """The journal of a folder, which is locked as long as the block lasts.

        Args:
            folder: The folder that results are written to.
            resume: Whether to keep the records of an older journal for files that are done.

        Raises:
            OSError: if another job has the journal open, with its host and process id, or the
                journal cannot be read or written.
        """
        with locked(folder / f".{REPORT}.lock", f"the folder {folder}"):
            journal = cls(folder / REPORT)
            if resume and journal._path.exists():
                journal._read()
            journal.rewrite()
            yield journal

    def _read(self):
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                # Files that failed or were skipped are tried again.
                if record["status"] == "ok":
                    self._records[record["file"]] = record
            except (ValueError, KeyError, TypeError, RecursionError):
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
        write_text(self._path, "".join(lines))


def _line(record):
    # ASCII: a file name need not be valid Unicode, the report stays readable.
    return json.dumps(record) + "\n"
