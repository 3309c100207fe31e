"""What the benchmark scripts share: where a number was measured, and where it is written.

`python benchmarks/NAME.py` finds this file beside itself: `from device import write_results`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_rdanet.evaluation.report import markdown_table
from keras_rdanet.files import write_json, write_text
from keras_rdanet.profiling import environment

RESULTS = Path(__file__).parent / "results"


def stamp() -> dict:
    """Return the machine and the versions, as every result file carries them."""
    return environment()


def write_results(
    name: str,
    rows: Sequence[Mapping],
    *,
    title: str,
    command: str,
    notes: str = "",
    settings: Mapping | None = None,
    table: Sequence[Mapping] | None = None,
    folder: Path = RESULTS,
) -> None:
    """Write `results/NAME.json` and `results/NAME.md`.

    Args:
        name: File name without suffix.
        rows: Flat dicts, one a measurement; the lines of the table unless `table` is given.
        title: Heading of the Markdown file.
        command: What to run to get these numbers again.
        notes: A paragraph or two under the table: how to read it.
        settings: What the rows have in common; JSON only, say the rest in `notes`.
        table: The lines of the Markdown table, where it arranges the rows otherwise.
        folder: Where to write; tests write elsewhere.
    """
    device = stamp()
    content = {
        "name": name,
        "command": command,
        "device": device,
        "settings": dict(settings or {}),
        "rows": list(rows),
    }
    write_json(folder / f"{name}.json", content)
    versions = ", ".join(f"{key} {value}" for key, value in device["versions"].items())
    where = ", ".join([device["cpu"], f"{device['cores']} cores", *device["gpus"]])
    paragraphs = [
        f"# {title}",
        f"`{command}`",
        markdown_table(rows if table is None else table).rstrip(),
        *([notes] if notes else []),
        f"Measured on {where}; {device['system']}, Python {device['python']}; {versions}.",
    ]
    write_text(folder / f"{name}.md", "\n\n".join(paragraphs) + "\n")
