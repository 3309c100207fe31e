"""Score every file of the shipped weights on Set12, as `keras-rdanet evaluate` does.

    python benchmarks/exported_scores.py --calibration FOLDER --test SET12

Files that take any size restore whole pictures, TFLite files tiles, and Keras both. What is
measured is kept in --cache, so that an interrupted run goes on where it was; delete the folder to
measure again. Writes results/exported_scores.json and .md; exits 1 if a file misses its
tolerance.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.evaluate import evaluate
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.export.exporter import make
from keras_rdanet.export.formats.registry import FORMATS
from keras_rdanet.export.job import prepare_job, verification_protocol
from keras_rdanet.files import write_json
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.inference.open import open_model
from keras_rdanet.weights.catalogue import list_models

RESULTS = Path(__file__).parent / "results"
# int16x8 is left out: its reference kernels take hours for these pictures.
FILES = [
    (name, variant)
    for name, format in FORMATS.items()
    for variant, kind in format.variants.items()
    if not kind.slow
]
NOTES = """\
PSNR in dB, the mean over the {pictures} pictures, degraded as the last column says. Gray pictures
are given to RGB networks in three equal channels. Columns of files show the gain or loss against
Keras with the same input. SavedModel and ONNX files restore whole pictures, TFLite files, whose
input is fixed, tiles of {size}x{size} pixels; int8_uint8 can only be given the degraded pictures
clipped and rounded to 8 bits, and clipped noise costs Keras as much."""
KERAS, KERAS_TILES, KERAS_EIGHT_BITS = "Keras", "Keras, in tiles", "Keras, in tiles, given 8 bits"


def measure(name, calibration, test, size):
    """Yield a row for Keras and for every file of one set of weights."""
    job = prepare_job(name, calibration=calibration, test=calibration, size=size, pictures=1)
    protocol = verification_protocol(job.metadata.task)

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

    keras = job.reference.function
    tiled = replace(keras, tile_shape=(size, size))
    yield row(KERAS, keras)
    yield row(KERAS_TILES, tiled)
    yield row(KERAS_EIGHT_BITS, in_eight_bits(tiled))
    with tempfile.TemporaryDirectory() as work:
        for format, variant in FILES:
            path = make(job, format, variant, Path(work))
            yield row(f"{format} {variant}", open_model(path))


def in_eight_bits(function):
    """Return the function as it is where pictures come in 8 bits."""

    def restore(images):
        return function(to_float(to_samples(images, np.uint8)))

    return replace(function, function=restore)


def losses(rows):
    """File -> its loss in dB against Keras with the same input, for one set of weights."""
    psnr = {row["file"]: row["psnr"] for row in rows}
    keras = {name: psnr.pop(name) for name in (KERAS, KERAS_TILES, KERAS_EIGHT_BITS)}
    return {file: keras[_alike(file)] - value for file, value in psnr.items()}


def _alike(file):
    """The column of Keras with the same input as the file."""
    if file.endswith("uint8"):
        return KERAS_EIGHT_BITS
    return KERAS_TILES if file.startswith("tflite") else KERAS


def line(rows):
    """The line of the table for one set of weights."""
    return {
        "weights": rows[0]["weights"],
        **{row["file"]: f"{row['psnr']:.2f}" for row in rows if row["file"].startswith(KERAS)},
        **{file: f"{-loss:+.3f}" for file, loss in losses(rows).items()},
        "degraded": rows[0]["degraded"],
    }


@click.command()
@click.option("--calibration", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--test", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--size", default=256, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default="runs/exported_scores")
def main(calibration, test, size, cache):
    """Score the files of all weights of the catalogue."""
    tables = []
    for entry in list_models():
        stored = cache / f"{entry.name}-{entry.sha256[:12]}-{size}.json"
        if not stored.exists():
            click.echo(f"{entry.name}:")
            write_json(stored, list(measure(entry.name, calibration, test, size)))
        tables.append(json.loads(stored.read_text(encoding="utf-8")))
        click.echo(", ".join(f"{key} {value}" for key, value in line(tables[-1]).items()))
    write_results(
        "exported_scores",
        [row for rows in tables for row in rows],
        title=f"Exported files on {test.name}",
        command="python benchmarks/exported_scores.py --calibration FOLDER --test SET12",
        notes=NOTES.format(pictures=tables[0][0]["pictures"], size=size),
        settings={
            "size": size,
            "calibration": calibration.resolve().name,
            "test": test.resolve().name,
        },
        table=[line(rows) for rows in tables],
        folder=RESULTS,
    )
    tolerances = {
        f"{name} {variant}": FORMATS[name].variants[variant].tolerance.psnr_loss
        for name, variant in FILES
    }
    missed = [
        f"{rows[0]['weights']}, {file}: {loss:.3f} dB"
        for rows in tables
        for file, loss in losses(rows).items()
        if loss > tolerances[file]
    ]
    if missed:
        sys.exit("\n".join(["tolerances missed:", *missed]))


if __name__ == "__main__":
    main()
