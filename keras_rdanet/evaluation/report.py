"""Tables of results for documents and terminals, and files with where they were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_rdanet.files import write_json, write_text
from keras_rdanet.profiling import environment


def cell(value) -> str:
    """Return a value as tables show it: four digits of a float, nothing for `None`."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value).replace("|", "\\|")


def markdown_table(rows: Sequence[Mapping]) -> str:
    """Return the rows as a Markdown table; columns in order of appearance."""
    columns = _columns(rows)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def text_table(rows: Sequence[Mapping]) -> str:
    """Return the rows as columns for a terminal: the first to the left, the others to the right."""
    columns = _columns(rows)
    lines = [columns, *([cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() + "\n"
        for line in lines
    )


def write_results(
    name: str,
    rows: Sequence[Mapping],
    *,
    title: str,
    command: str,
    folder: Path,
    notes: str = "",
    settings: Mapping | None = None,
    table: Sequence[Mapping] | None = None,
) -> None:
    """Write measurements to `NAME.json` and `NAME.md`, with the machine and the versions.

    Args:
        name: File name without suffix.
        rows: Flat dicts, one for each measurement; the lines of the table unless `table` is given.
        title: Heading of the Markdown file.
        command: The command that measures these numbers again.
        folder: Folder to write to.
        notes: Text under the table that says how to read it.
        settings: Values that all rows have in common; JSON must be able to hold them.
        table: The lines of the Markdown table, if it arranges the rows in another way.

    Raises:
        OSError: if the files cannot be written.
    """
    measured_on = environment()
    content = {
        "name": name,
        "command": command,
        "device": measured_on,
        "settings": dict(settings or {}),
        "rows": list(rows),
    }
    write_json(folder / f"{name}.json", content)
    paragraphs = [
        f"# {title}",
        f"`{command}`",
        markdown_table(rows if table is None else table).rstrip(),
        *([notes] if notes else []),
        f"Measured on {describe_environment(measured_on)}.",
    ]
    write_text(folder / f"{name}.md", "\n\n".join(paragraphs) + "\n")


def describe_environment(measured_on: Mapping) -> str:
    """Return what `profiling.environment` found, as one line of text."""
    where = ", ".join([measured_on["cpu"], f"{measured_on['cores']} cores", *measured_on["gpus"]])
    versions = ", ".join(f"{name} {version}" for name, version in measured_on["versions"].items())
    return f"{where}; {measured_on['system']}, Python {measured_on['python']}; {versions}"


def _columns(rows):
    return list(dict.fromkeys(name for row in rows for name in row))
