"""Measure the effect of tiling on a network that pools over its input.

    python benchmarks/tiling.py [--model NAME|FILE] [--data FOLDER] [--tile N --overlap M]...

Restores large noisy pictures whole and in tiles, and compares both with the clean pictures.
Without --data the pictures are those that scikit-image ships. The first row of a picture is
what `Restorer` does by default. Writes results/tiling.json and .md; exits 1 if the default
loses more than 0.05 dB on a picture.
"""

import dataclasses
import sys
import time
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from keras_rdanet.evaluation.report import write_results
from keras_rdanet.image.color import luma
from keras_rdanet.image.io import SUFFIXES, read_picture, to_float, to_samples
from keras_rdanet.inference.open import open_model
from keras_rdanet.inference.tiling import choose_tile, default_overlap, restore_tiled
from keras_rdanet.metrics import psnr
from keras_rdanet.tasks.gaussian_noise import protocol_noise

RESULTS = Path(__file__).parent / "results"
LIMIT = 0.05  # dB
NOTES = f"""\
`whole` and `tiled` are PSNR against the clean picture in dB, `loss` is their difference (more than
{LIMIT} by default would fail), `largest` the largest difference between the two results in gray
levels, `work` the share of pixels computed more than once. The noise is that of the evaluation
protocol; pictures smaller than `auto` allows are restored whole, so the first row of a picture is
only relevant where it has more than one tile."""


def pictures(folder, channels):
    """Yield names and clean pictures, `(H, W, channels)` uint8."""
    if folder is not None:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        found = ((path.name, read_picture(path).samples) for path in files)
    else:
        from skimage import data

        squares = [data.astronaut(), data.coffee(), data.immunohistochemistry(), data.rocket()]
        squares = [square[:400, :512] for square in squares]
        collage = np.concatenate([np.hstack(squares[:2]), np.hstack(squares[2:])])
        found = iter(
            [("collage", collage), ("hubble", data.hubble_deep_field()), ("retina", data.retina())]
        )
    for name, picture in found:
        if channels == 1 and picture.shape[-1] == 3:
            picture = luma(picture)
        if channels == picture.shape[-1]:
            yield name, picture


def restore(function, noisy, size, overlap):
    """Restore a picture and count the pixels computed."""
    pixels = 0

    def counting(images):
        nonlocal pixels
        pixels += images.shape[1] * images.shape[2]
        return function(images)

    restored = np.empty_like(noisy)

    def write(top, rows):
        restored[top : top + len(rows)] = rows

    start = time.perf_counter()
    counted = dataclasses.replace(function, function=counting)
    restore_tiled(counted, noisy, size, overlap, write=write)
    return to_samples(restored, np.uint8), pixels, time.perf_counter() - start


@click.command()
@click.option("--model", default="tsp_rdanet_tiny_rgb", help="Name or file.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sigma", default=25.0, help="Noise level, in gray levels.")
@click.option("--precision", default="float32", type=click.Choice(["float32", "bfloat16"]))
@click.option("--tile", "tiles", type=int, multiple=True, help="Also measure this tile size.")
@click.option(
    "--overlap",
    "overlaps",
    type=int,
    multiple=True,
    help="Overlap to measure with every --tile, in pixels.",
)
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS)
def main(model, data, sigma, precision, tiles, overlaps, output):
    """Measure the effect of tiling."""
    function = open_model(model, precision=precision)
    rows = []
    for name, clean in tqdm(list(pictures(data, function.channels)), unit="picture"):
        height, width = clean.shape[:2]
        noisy = to_float(clean) + protocol_noise(clean.shape, sigma)
        whole = restore(function, noisy, (height, width), 0)[0]
        auto = choose_tile(function, height, width)
        cases = [(auto, default_overlap(function, auto), True)]
        cases += [((n, n), m, False) for n, m in zip(tiles, overlaps, strict=True)]
        for size, overlap, is_default in cases:
            tiled, pixels, seconds = restore(function, noisy, size, overlap)
            scores = psnr(whole, clean), psnr(tiled, clean)
            rows.append(
                {
                    "picture": name,
                    "size": f"{height}x{width}",
                    "tile": f"{size[0]}x{size[1]}",
                    "overlap": overlap,
                    "default": is_default,
                    "whole": round(scores[0], 3),
                    "tiled": round(scores[1], 3),
                    "loss": round(scores[0] - scores[1], 4),
                    "largest": int(np.abs(whole.astype(int) - tiled).max()),
                    "work": round(pixels / (height * width) - 1, 3),
                    "s/MP": round(seconds * 1e6 / (height * width), 1),
                }
            )
    label = Path(function.name).name
    write_results(
        "tiling",
        rows,
        title=f"Tiling: {label}, sigma {sigma:g}, {precision}",
        command="python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        notes=NOTES,
        settings={"model": label, "sigma": sigma, "precision": precision},
        folder=output,
    )
    worst = max(row["loss"] for row in rows if row["default"])
    click.echo(f"largest loss by default: {worst} dB")
    if worst > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
