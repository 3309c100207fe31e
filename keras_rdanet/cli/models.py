"""`keras-rdanet models`: the weights that ship, what they reach and their licenses."""

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
def models(as_json, as_markdown):
    """List the shipped weights: task, size, scores, license."""
    import json
    from dataclasses import asdict

    from keras_rdanet.weights.catalogue import list_models

    entries = list_models()
    if as_json:
        listed = [{"name": entry.name, **asdict(entry)} for entry in entries]
        click.echo(json.dumps(listed, indent=2))
    elif as_markdown:
        click.echo(markdown_table(entries))
    else:
        click.echo(text_table(entries))


def text_table(entries) -> str:
    """Lay out catalogue entries for a terminal."""
    if not entries:
        return "No weights ship with this version."
    table = [list(row(entries[0])), *(list(row(entry).values()) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    ]
    return "\n".join([*lines, "", "* what the name without its tag means"])


def markdown_table(entries) -> str:
    """Lay out catalogue entries for a document."""
    from keras_rdanet.evaluation.report import markdown_table

    return markdown_table([row(entry) for entry in entries]).rstrip()


def row(entry) -> dict[str, str]:
    """One line of the tables."""
    return {
        "name": entry.name + (" *" if entry.default else ""),
        "description": entry.description,
        "parameters": f"{entry.parameters:,}",
        "size": f"{entry.bytes / 1e6:.2f} MB",
        "PSNR in dB at sigma or quality": scores(entry),
        "license": entry.license,
    }


def scores(entry) -> str:
    """The scores in few words: `bsd68 15: 31.52, 25: 29.01` or `cc15 37.21`."""
    sets: dict[str, list[str]] = {}
    for score in entry.scores:
        level = next((score[kind] for kind in ("sigma", "quality") if kind in score), None)
        prefix = "" if level is None else f"{level:g}: "
        sets.setdefault(score["data"], []).append(f"{prefix}{score['psnr']:.2f}")
    return "; ".join(f"{data} {', '.join(levels)}" for data, levels in sets.items())
