"""Write docs/models.md: cost and scores of every shipped set of weights, with a chart.

    python tools/models.py

Scores come from the catalogue; exports and classical methods from exports.json and scores.json in
benchmarks/results/; time and memory are measured here. Writes tools/results/models.json as well.
"""

import json
import tempfile
import time
from pathlib import Path

import click
import matplotlib
import numpy as np

from keras_rdanet.evaluation.report import describe_environment, markdown_table
from keras_rdanet.files import replacing, write_json, write_text
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.models import registry
from keras_rdanet.profiling import environment, multiply_accumulates, peak_memory_of
from keras_rdanet.weights.catalogue import list_models

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = Path(__file__).parent / "results"
MEASURED = ROOT / "benchmarks" / "results"
PRECISIONS = ("float32", "bfloat16")
SIDE = 256
MEGAPIXEL = (816, 1224)
ROUNDS = 5

# Published PSNR at sigma 25, of one network a noise level; the papers' times are of other machines.
PUBLISHED = {
    "bsd68": {"BM3D": 28.57, "DnCNN": 29.23},
    "cbsd68": {"CBM3D": 30.63, "DnCNN": 31.31},
}

INTRODUCTION = """\
# The shipped weights

Written by `python tools/models.py`; scores by `benchmarks/scores.py`.

## Which one for me?

- **A noisy picture of unknown noise level**: `tsp_rdanet_tiny`, the default. It gives the most
  quality per second on a CPU, and it is blind: no noise level needs to be given. The command picks
  the gray or the RGB network.
- **A noisy picture, with more time**: `tsp_rdanet_small`, about 0.1 dB better for four times the
  work per pixel.
- **A photo processed by a camera or a phone**: `tsp_rdanet_small_real`. Weights
  for Gaussian noise leave camera noise standing, which is correlated between pixels.
- **A JPEG with blocks and ringing**: `tsp_rdanet_tiny_gray.jpeg`, for gray pictures of quality 10
  to 40.

Licenses follow the data: everything here was trained on BSDS500 or PolyU, for research and
non-commercial use."""

NOTES = """\
`s/MP` is seconds for a megapixel on the machine below, in tiles of 256x256, in the fastest
precision of Keras (`fp32`: in float32); compare rows, not machines. `GMAC/MP`: 10^9
multiply-accumulates a megapixel. `peak` is the largest resident memory of `keras-rdanet restore` on
a picture of one megapixel, TensorFlow included. A network that pools globally is tiled with an
overlap; its effect on the result is in `benchmarks/results/tiling.md`. The fastest export is as
many times as fast as Keras in float32; all of them are in [exports.md](exports.md)."""
CURVES = """\
## How they were trained

![PSNR on held-out images over pixels seen](images/curves.png)

Drawn by `tools/curves.py`; what was tried is in [training_log.md](training_log.md)."""

PROTOCOLS = """\
The protocol of each is in `keras-rdanet models --json`. None of these images was trained on."""

CLASSICAL = ("OpenCV non-local means", "BM3D")


def seconds_per_megapixel(names):
    """Time networks in turns, the best of `ROUNDS`; name -> precision -> seconds."""
    functions = {
        (name, precision): registry.image_function(name, precision)
        for name in names
        for precision in PRECISIONS
    }
    rng = np.random.default_rng(0)
    best = dict.fromkeys(functions, float("inf"))
    for warm in (True, *[False] * ROUNDS):
        for key, function in functions.items():
            tile = rng.random((1, SIDE, SIDE, function.channels), np.float32)
            start = time.perf_counter()
            function(tile)
            if not warm:
                best[key] = min(best[key], time.perf_counter() - start)
    return {name: {p: best[name, p] * 1e6 / SIDE**2 for p in PRECISIONS} for name in names}


def peak_memory(name, channels):
    """Peak memory of `keras-rdanet restore` on a picture of one megapixel, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.png"), Path(folder, "out.png")
        samples = np.random.default_rng(0).integers(0, 256, (*MEGAPIXEL, channels), np.uint8)
        write_picture(source, Picture(samples))
        return peak_memory_of("keras_rdanet", "restore", source, target, "--model", name)[0]


def describe(entry, seconds):
    """Everything about one set of weights, flat."""
    model = registry.load(entry.name)
    return {
        "name": entry.name,
        "task": entry.task,
        "parameters": entry.parameters,
        "gmac_per_megapixel": multiply_accumulates(model, SIDE, SIDE) / SIDE**2 * 1e6 / 1e9,
        "seconds_per_megapixel": seconds[entry.name],
        "peak_bytes": peak_memory(entry.name, entry.channels),
        "support": model.support,
        "scores": list(entry.scores),
        "protocol": entry.protocol,
        "exports": passed_exports(entry.name),
        "file": entry.file,
        "sha256": entry.sha256,
        "data": entry.data,
        "license": entry.license,
        "cost": entry.cost,
    }


def passed_exports(name, results=MEASURED):
    """The exports of these weights within their tolerances: file -> speed relative to Keras.

    `None` if none were measured.
    """
    path = results / "exports.json"
    if not path.exists():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {
        f"{r['format']} {r['variant']}": r["speedup"]
        for r in rows
        if r["network"] == name and not r["failures"]
    }


def fastest(exports):
    """The fastest export that passed, in words."""
    if not exports:
        return "not measured"
    name = max(exports, key=lambda file: exports[file])
    return f"{name}, {exports[name]:.1f}x"


def costs(rows):
    """Lines of the table of costs."""
    return [
        {
            "weights": row["name"],
            "parameters": f"{row['parameters']:,}",
            "GMAC/MP": f"{row['gmac_per_megapixel']:.0f}",
            "s/MP": f"{min(row['seconds_per_megapixel'].values()):.1f}",
            "s/MP, fp32": f"{row['seconds_per_megapixel']['float32']:.1f}",
            "peak": f"{row['peak_bytes'] / 1e6:.0f} MB",
            "tiling": row["support"].replace("_", " "),
            "fastest export": fastest(row["exports"]),
            "exports that pass": ", ".join(row["exports"] or ()) or "not measured",
        }
        for row in rows
    ]


def scores(rows):
    """Lines of the table of scores, one for each test set and level."""
    return [
        {
            "weights": row["name"],
            "set": score["data"],
            "level": next(
                (f"{k} {score[k]:g}" for k in ("sigma", "quality") if k in score), "pairs"
            ),
            "images": score["images"],
            "PSNR / SSIM": f"{score['psnr']:.2f} / {score['ssim']:.4f}",
        }
        for row in rows
        for score in row["scores"]
    ]


def origins(rows):
    """Lines of the table of where weights come from."""
    return [
        {
            "weights": row["name"],
            "data": row["data"],
            "license": row["license"],
            "megapixels seen": f"{row['cost']['pixels'] / 1e6:.0f}",
            "sha256": f"`{row['sha256']}`",
        }
        for row in rows
    ]


def draw(rows, path):
    """Draw PSNR at sigma 25 over seconds per megapixel, beside known methods."""
    measured = json.loads((MEASURED / "scores.json").read_text(encoding="utf-8"))["rows"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, (data, published) in zip(axes, PUBLISHED.items(), strict=True):
        for row in rows:
            for score in row["scores"]:
                if (score["data"], score.get("sigma")) == (data, 25):
                    place = min(row["seconds_per_megapixel"].values()), score["psnr"]
                    axis.plot(*place, "o", color="tab:blue")
                    axis.annotate(
                        row["name"].removeprefix("tsp_rdanet_"),
                        place,
                        (0, 7),
                        textcoords="offset points",
                        ha="center",
                        fontsize=8,
                    )
        for one in measured:
            if (one["data"], one["level"]) == (data, "sigma 25") and one["method"] in CLASSICAL:
                place = one["seconds_per_image"] / (481 * 321) * 1e6, one["psnr"]
                axis.plot(*place, "s", color="tab:gray")
                axis.annotate(one["method"], place, (6, 4), textcoords="offset points", fontsize=8)
        for name, psnr in published.items():
            axis.axhline(psnr, color="tab:orange", linewidth=1, linestyle="--")
            axis.annotate(
                f"{name}, published",
                (0.01, psnr),
                (0, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                fontsize=8,
            )
        axis.set(xscale="log", xlabel="seconds per megapixel", ylabel="PSNR in dB at sigma 25")
        axis.set_title(data.upper())
        axis.margins(x=0.3, y=0.1)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=DOCS, help="Where to write.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(output, results):
    """Write docs/models.md: cost and scores of every shipped set of weights, with a chart."""
    entries = list_models()
    seconds = seconds_per_megapixel([entry.name for entry in entries])
    rows = [describe(entry, seconds) for entry in entries]
    measured_on = environment()
    write_json(results / "models.json", {"device": measured_on, "rows": rows})
    (output / "images").mkdir(exist_ok=True)
    draw(rows, output / "images" / "models.png")
    paragraphs = [
        INTRODUCTION,
        "![PSNR against time](images/models.png)",
        "## Cost",
        markdown_table(costs(rows)).rstrip(),
        NOTES,
        "## Scores",
        markdown_table(scores(rows)).rstrip(),
        PROTOCOLS,
        CURVES,
        "## Origin",
        markdown_table(origins(rows)).rstrip(),
        f"Measured on {describe_environment(measured_on)}.",
    ]
    write_text(output / "models.md", "\n\n".join(paragraphs) + "\n")


if __name__ == "__main__":
    main()
