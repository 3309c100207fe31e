"""Progress of a job: a bar on a terminal, and a line every few seconds in a log file."""

import sys
from typing import TextIO

from tqdm import tqdm

SECONDS = 10


def progress(total: int, unit: str) -> tqdm:
    """Return a bar on stderr, to be used as a context manager.

    On a terminal it is redrawn. Elsewhere, in a log file say, it writes a line every ten
    seconds, and nothing for a job that is over by then. `update(0)` shows time and count anew.

    Args:
        total: Number of units of the whole job.
        unit: Name of a unit in the singular.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, unit=unit, miniters=0)
    return tqdm(
        total=total,
        file=_Lines(sys.stderr),
        unit=unit,
        miniters=0,
        mininterval=SECONDS,
        delay=SECONDS,
        bar_format="{n_fmt} of {total_fmt} {unit}s, {elapsed} gone, {remaining} to go",
    )


class _Lines:
    """Writes each state of a bar as a line of its own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        if state := text.strip("\r\n "):
            self._stream.write(f"{state}\n")

    def flush(self) -> None:
        self._stream.flush()
