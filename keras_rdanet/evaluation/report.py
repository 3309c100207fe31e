"""Tables of results, for documents and for terminals."""

from collections.abc import Mapping, Sequence


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


def _columns(rows):
    return list(dict.fromkeys(name for row in rows for name in row))
