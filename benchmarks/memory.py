"""Measure the peak memory of `keras-rdanet restore` on large pictures.

    python benchmarks/memory.py [--model NAME|FILE] [--megapixels 6 --megapixels 24]

Each case is a process of its own; pictures are made up. Writes results/memory.json and .md;
exits 1 above 2 GB.
"""

import math
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from keras_rdanet.evaluation.report import write_results
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.profiling import peak_memory_of

RESULTS = Path(__file__).parent / "results"
LIMIT = 2e9  # bytes
NOTES = f"""\
`peak` is the largest resident memory of the whole process in MB (10^6 bytes), framework, decoder
and encoder included; more than {LIMIT / 1e6:g} would fail. RGB pictures of 8 bits, no options."""


def scene(megapixels):
    """A noisy picture with edges and smooth areas, `(H, W, 3)` uint8, 3:2."""
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(height * 1.5)
    rng = np.random.default_rng(0)
    picture = np.empty((height, width, 3), np.uint8)
    columns = np.arange(width)[:, None]
    for row in range(height):  # one by one: this process needs little memory too
        values = 128 + 60 * np.sin(row / 50 + columns / (40 + 20 * np.arange(3)))
        values += 50 * ((row // 100 + columns // 100) % 2)
        picture[row] = np.clip(values + rng.normal(0, 15, (width, 3)), 0, 255)
    return picture


@click.command()
@click.option("--model", help="Name or file; the default model without it.")
@click.option("--megapixels", type=float, multiple=True, default=(6, 24), show_default=True)
@click.option("--suffix", "suffixes", multiple=True, default=(".png", ".jpg"), show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS)
def main(model, megapixels, suffixes, output):
    """Measure the peak memory of `keras-rdanet restore`."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megapixels:
            picture = Picture(scene(size))
            for suffix in suffixes:
                source, target = Path(folder, f"in{suffix}"), Path(folder, f"out{suffix}")
                write_picture(source, picture)
                line = ["restore", source, target, *(["--model", model] if model else [])]
                start = time.perf_counter()
                peak, said = peak_memory_of("keras_rdanet", *line)
                seconds = time.perf_counter() - start
                rows.append(
                    {
                        "megapixels": size,
                        "size": "{}x{}".format(*picture.samples.shape),
                        "file": suffix.removeprefix("."),
                        "computed in": said.strip().rpartition(" in ")[2].partition(",")[0],
                        "peak": round(peak / 1e6),
                        "seconds": round(seconds),
                    }
                )
                click.echo(rows[-1])
    write_results(
        "memory",
        rows,
        title="Peak memory of `keras-rdanet restore`",
        command="python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        notes=NOTES,
        settings={"model": Path(model).name if model else "default"},
        folder=output,
    )
    if max(row["peak"] for row in rows) * 1e6 > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
