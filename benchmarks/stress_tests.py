"""Run the stress tests: pictures on which restoration networks often fail.

    python benchmarks/stress_tests.py --all
    python benchmarks/stress_tests.py --model NAME --model FILE

Writes results/stress_tests.json and .md; exits 1 if anything failed.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from keras_rdanet.evaluation import stress_tests
from keras_rdanet.evaluation.evaluate import open_identified
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.image.color import luma
from keras_rdanet.weights.catalogue import list_models

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("float32", "bfloat16")
NOTES = f"""\
Values are on a scale where white is 1, before clipping; `shift` is how far the mean of the worst
channel of a flat picture moved, in gray levels after clipping. `PSNR` is against the input: for
"clean" it tells what is lost when there was no noise to remove. A case fails if a value is not
finite or leaves [0, 1] by more than {stress_tests.MAX_OVERSHOOT}, or if a flat picture shifts by
more than {stress_tests.MAX_SHIFT:g} gray levels."""


def photograph(channels):
    """Return a clean photograph in the public domain, `(256, 256, channels)` uint8."""
    from skimage.data import astronaut

    picture = astronaut()[:256, 128:384]
    return picture if channels == 3 else luma(picture)


def examine(model, precision):
    """Return one row a case for a network in one precision."""
    function, details = open_identified(model, precision=precision)
    findings = stress_tests.run(function, photograph(function.channels))
    return [
        {
            "model": function.name,
            "precision": precision,
            **asdict(finding),
            "sha256": details["sha256"],
        }
        for finding in findings
    ]


def line(row):
    """Arrange a row for the Markdown table."""
    return {
        "model": row["model"],
        "precision": row["precision"],
        "case": row["case"],
        "size": f"{row['height']}x{row['width']}",
        "low": row["low"],
        "high": row["high"],
        "shift": None if row["shift"] is None else f"{row['shift']:.2f}",
        "PSNR (dB)": None if row["psnr"] is None else f"{row['psnr']:.1f}",
        "result": row["fault"] or "passed",
    }


@click.command()
@click.option("--model", "models", multiple=True, metavar="NAME|FILE", help="May be repeated.")
@click.option("--all", "every", is_flag=True, help="All weights that ship with the package.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where to write.")
def main(models, every, results):
    """Run the stress tests: pictures on which restoration networks often fail."""
    models = [*models, *(entry.name for entry in list_models() if every)]
    if not models:
        raise click.UsageError("Give --model, or --all where weights ship with the package.")
    rows = []
    for model in models:
        for precision in PRECISIONS:
            found = examine(model, precision)
            rows += found
            faults = [f"{row['case']}: {row['fault']}" for row in found if row["fault"]]
            verdict = "; ".join(faults) or f"all {len(found)} cases passed"
            click.echo(f"{found[0]['model']} in {precision}: {verdict}")
    write_results(
        "stress_tests",
        rows,
        title="Pictures that networks fail on",
        command="python benchmarks/stress_tests.py --all",
        notes=NOTES,
        table=[line(row) for row in rows],
        folder=results,
    )
    sys.exit(any(row["fault"] for row in rows))


if __name__ == "__main__":
    main()
