"""Score every file of the shipped weights on Set12, as `keras-rdanet evaluate` does.

    python benchmarks/exported_scores.py --data FOLDER_TO_CALIBRATE_WITH --test SET12

Keras restores whole pictures, TFLite files tiles of their size. Every row is kept in --cache, so
that an interrupted run goes on where it was; delete the folder to measure again. Writes
results/exported_scores.json and .md; exits 1 if a file loses more than its gate allows.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from device import write_results

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.evaluate import evaluate
from keras_rdanet.evaluation.report import write_json
from keras_rdanet.export import prepare, publish
from keras_rdanet.export.report import GATES
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.inference.open import open_model
from keras_rdanet.weights.catalogue import list_models

# int16x8 is left out: its reference kernels take hours for these pictures.
FILES = [
    (format, variant)
    for format, variants in publish.VARIANTS.items()
    for variant in variants
    if variant != "int16x8"
]
NOTES = """\
PSNR in dB, the mean over the {pictures} pictures, degraded as the last column says. Gray pictures
are given to RGB networks in three equal channels. Files of fixed input size restore tiles of
{size}x{size} pixels, all others whole pictures. int8_uint8 can only be given the degraded pictures
clipped and rounded to 8 bits, so its loss is to Keras on the same; clipped noise costs both."""
KERAS, KERAS_EIGHT_BITS = "Keras", "Keras, given 8 bits"


def measure(name, data, test, size):
    """Yield a row for Keras and for every file of one set of weights."""
    subject = prepare.subject(name, data=data, size=size, pictures=1, calibrate=True)
    protocol = prepare.proving_protocol(subject.metadata.task)

    def row(file, function):
        tile = "auto" if function.tile_shape else "off"
        result = evaluate(function, protocol, folder(test), tile=tile, progress=True)
        return {
            "weights": name,
            "file": file,
            "psnr": result.mean("psnr"),
            "degraded": protocol.describe(function.channels)["name"],
            "pictures": len(result.images),
        }

    keras = subject.reference.function
    yield row(KERAS, keras)
    yield row(KERAS_EIGHT_BITS, in_eight_bits(keras))
    with tempfile.TemporaryDirectory() as work:
        for format, variant in FILES:
            path = publish.make(subject, format, variant, Path(work))
            yield row(f"{format} {variant}", open_model(path))


def in_eight_bits(function):
    """Return the function as it is where pictures come in 8 bits."""

    def restore(images):
        return function(to_float(to_samples(images, np.uint8)))

    return replace(function, function=restore)


def losses(rows):
    """File -> how many dB less than Keras given the same, of one set of weights."""
    psnr = {row["file"]: row["psnr"] for row in rows}
    keras, eight_bits = psnr.pop(KERAS), psnr.pop(KERAS_EIGHT_BITS)
    return {
        file: (eight_bits if file.endswith("uint8") else keras) - value
        for file, value in psnr.items()
    }


def line(rows):
    """What the table says about one set of weights."""
    keras, eight_bits = rows[:2]
    return {
        "weights": keras["weights"],
        **{row["file"]: f"{row['psnr']:.2f}" for row in (keras, eight_bits)},
        **{file: f"{-loss:+.3f}" for file, loss in losses(rows).items()},
        "degraded": keras["degraded"],
    }


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--test", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--size", default=256, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default="runs/exported_scores")
def main(data, test, size, cache):
    """Score the files of all weights of the catalogue."""
    tables = []
    for entry in list_models():
        stored = cache / f"{entry.name}-{entry.sha256[:12]}-{size}.json"
        if not stored.exists():
            click.echo(f"{entry.name}:")
            write_json(stored, list(measure(entry.name, data, test, size)))
        tables.append(json.loads(stored.read_text(encoding="utf-8")))
        click.echo(", ".join(f"{key} {value}" for key, value in line(tables[-1]).items()))
    write_results(
        "exported_scores",
        [row for rows in tables for row in rows],
        title=f"Exported files on {test.name}",
        command="python benchmarks/exported_scores.py --data FOLDER --test SET12",
        notes=NOTES.format(pictures=tables[0][0]["pictures"], size=size),
        settings={"size": size, "data": data.resolve().name, "test": test.resolve().name},
        table=[line(rows) for rows in tables],
    )
    gates = {f"{format} {variant}": gate.psnr_loss for (format, variant), gate in GATES.items()}
    missed = [
        f"{rows[0]['weights']}, {file}: {loss:.3f} dB"
        for rows in tables
        for file, loss in losses(rows).items()
        if loss > gates[file]
    ]
    if missed:
        sys.exit("\n".join(["gates missed:", *missed]))


if __name__ == "__main__":
    main()
