"""Draw how the shipped weights were trained: PSNR on held-out images over pixels seen.

    python tools/curves.py add RUN NAME --axis "WHAT IS SCORED"
    python tools/curves.py draw

`add` copies the history of a run to tools/results/curves.csv; `draw` makes
docs/images/curves.png of it, an axis for each validation set.
"""

import csv
import io
import itertools
import json
from pathlib import Path

import click
import matplotlib

from keras_rdanet.files import replacing, write_text

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TABLE = Path(__file__).parent / "results" / "curves.csv"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "curves.png"
SHOWN = 2.0  # dB below the best
FIELDS = ("axis", "run", "step", "pixels", "psnr")


def rows():
    """The rows that were added so far."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def points(run, name, axis):
    """The validated steps of a run."""
    phases = json.loads((run / "config.json").read_text(encoding="utf-8"))["data"]["phases"]
    batches = [p["steps"] * [p["batch_size"] * p["patch_size"] ** 2] for p in phases]
    seen = [0, *itertools.accumulate(itertools.chain(*batches))]
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step = int(row["step"])
            psnr = f"{float(row['val_psnr']):.3f}"
            yield dict(zip(FIELDS, (axis, name, step, seen[step], psnr), strict=True))


@click.group()
def main():
    """Draw how the shipped weights were trained."""


@main.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name")
@click.option(
    "--axis",
    required=True,
    help="Description of the scored images; runs with the same description share an axis.",
)
def add(run, name, axis):
    """Take over the history of a run, in place of an older one of that name."""
    kept = [row for row in rows() if (row["axis"], row["run"]) != (axis, name)]
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*kept, *points(run, name, axis)])
    write_text(TABLE, text.getvalue())


@main.command()
def draw():
    """Make the picture."""
    axes = {}
    for row in rows():
        curve = axes.setdefault(row["axis"], {}).setdefault(row["run"], ([], []))
        curve[0].append(int(row["pixels"]) / 1e6)
        curve[1].append(float(row["psnr"]))
    figure, plots = plt.subplots(
        len(axes), 1, figsize=(7, 2.6 * len(axes)), layout="constrained", squeeze=False
    )
    for plot, (axis, curves) in zip(plots[:, 0], axes.items(), strict=True):
        for name, (pixels, psnr) in curves.items():
            plot.plot(pixels, psnr, marker=".", label=name)
        plot.set(title=axis, xlabel="million pixels of the run", ylabel="PSNR, dB")
        best = max(max(psnr) for _, psnr in curves.values())
        lowest = min(min(psnr) for _, psnr in curves.values())
        plot.set_ylim(bottom=max(lowest - 0.05, best - SHOWN))  # averaged weights begin far below
        plot.grid(alpha=0.3)
        plot.legend(fontsize="small")
    with replacing(PICTURE) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


if __name__ == "__main__":
    main()
