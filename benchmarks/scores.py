"""Score the shipped weights, and what people already have, on the usual test sets.

    python benchmarks/scores.py --data FOLDER_WITH_THE_SETS

Every finished measurement is kept in --cache, as `keras-rdanet evaluate --json`
writes it, so that an interrupted run goes on where it was and the slow
classical methods run once; delete the folder to measure again. Writes
results/scores.json and .md.
"""

import hashlib
import json
from pathlib import Path

import click
from device import RESULTS, write_results

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.comparison import Method, baseline_methods
from keras_rdanet.evaluation.evaluate import evaluate, open_identified
from keras_rdanet.evaluation.protocols import GaussianNoise
from keras_rdanet.evaluation.report import write_json
from keras_rdanet.weights.catalogue import list_models

SETS = {1: ("set12", "bsd68"), 3: ("cbsd68", "kodak24")}
SIGMAS = (15, 25, 50)
NOTES = """\
PSNR in dB / SSIM, means over the images, by the protocol of `keras-rdanet evaluate`: unclipped
noise of seed 0 for every image, images restored whole, scored in 8 bits. The classical methods
are told the true sigma; `benchmarks/results/baseline_settings.md` says how their settings were
chosen. Seconds are those of sigma 25 and may have been measured on a busy machine."""


def measure(method, data, sigma, limit, cache, cached_only):
    """Return the result of one method on one set, from the cache if it is there.

    With `cached_only` nothing is measured, and `None` stands for what is not there.
    """
    function = method.function
    what = [data.name, sigma, limit, function.name, function.precision, method.details]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    stored = cache / f"{data.name}-sigma{sigma}-{key}.json"
    if cached_only and not stored.exists():
        return None
    if not stored.exists():
        result = evaluate(
            function,
            GaussianNoise(sigma),
            folder(data, recursive=False),
            details=method.details,
            limit=limit,
            progress=True,
        )
        write_json(stored, {"data": data.name, "results": [result.as_dict()]})
    return json.loads(stored.read_text(encoding="utf-8"))["results"][0]


def row(data, sigma, result):
    """Flatten a result."""
    method, protocol, environment = (result[k] for k in ("method", "protocol", "environment"))
    return {
        "data": data.name,
        "method": method["name"],
        "precision": method["precision"],
        "sigma": sigma,
        **result["mean"],
        "seconds_per_image": result["seconds_per_image"],
        "images": protocol["images"],
        "degraded_sha256": protocol["degraded_sha256"],
        "details": {k: v for k, v in method.items() if k not in ("name", "precision")},
        "cpu": environment["cpu"],
        "gpus": environment["gpus"],
    }


def arrange(rows):
    """Return a line for each set and method, a column for each sigma."""
    lines = {}
    for one in rows:
        key = one["data"], one["method"], one["precision"]
        cells = lines.setdefault(key, dict(zip(("data", "method", "precision"), key, strict=True)))
        cells[f"sigma {one['sigma']}"] = f"{one['psnr']:.2f} / {one['ssim']:.4f}"
        if one["sigma"] == 25:
            cells["s/image"] = f"{one['seconds_per_image']:.3g}"
    return [lines[key] for key in sorted(lines, key=lambda key: key[0])]


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds the folders set12, bsd68, cbsd68 and kodak24.",
)
@click.option("--model", "models", multiple=True, help="Default: all weights of the catalogue.")
@click.option("--precision", "precisions", multiple=True, default=["float32"], show_default=True)
@click.option("--baselines/--no-baselines", default=True, show_default=True)
@click.option("--leave-out", multiple=True, metavar="METHOD", help="BM3D, which takes hours, say.")
@click.option("--limit", type=click.IntRange(min=1), help="First N images; a trial, not recorded.")
@click.option("--cached-only", is_flag=True, help="Write down what is measured; measure nothing.")
@click.option("--cache", type=click.Path(path_type=Path), default="runs/scores", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where to write.")
def main(data, models, precisions, baselines, leave_out, limit, cached_only, cache, results):
    """Score the shipped weights, and what people already have, on the usual test sets."""
    names = models or [entry.name for entry in list_models()]
    opened = [open_identified(name, precision=p) for name in names for p in precisions]
    rows = []

    def add(method, name, sigma):
        result = measure(method, data / name, sigma, limit, cache, cached_only)
        if result is None:
            return
        rows.append(row(data / name, sigma, result))
        cells = arrange(rows[-1:])[0]
        click.echo(", ".join(f"{key} {value}" for key, value in cells.items()))

    for channels, sets in SETS.items():
        for function, details in opened:
            if function.channels == channels:
                for name, sigma in [(name, sigma) for name in sets for sigma in SIGMAS]:
                    add(Method(function, details=details), name, sigma)
    others = []
    for channels, sets in SETS.items() if baselines else ():
        for sigma in SIGMAS:
            methods, missing = baseline_methods(sigma, channels)
            methods = [method for method in methods if method.function.name not in leave_out]
            others += [(method, name, sigma) for name in sets for method in methods]
            click.echo("".join(f"{line}\n" for line in missing), nl=False, err=True)
    # BM3D takes longer than all the rest together.
    for other in sorted(others, key=lambda other: other[0].function.name == "BM3D"):
        add(*other)
    if limit is None:
        write_results(
            "scores",
            rows,
            title="Scores on the usual test sets",
            command="python benchmarks/scores.py --data FOLDER_WITH_THE_SETS",
            notes=NOTES,
            table=arrange(rows),
            folder=results,
        )


if __name__ == "__main__":
    main()
