"""Score the shipped weights and the classical methods on the usual test sets.

    python benchmarks/scores.py --data FOLDER_WITH_THE_SETS

Every finished measurement is kept in --cache, as `keras-rdanet evaluate --json`
writes it, so that an interrupted run goes on where it was and the slow
classical methods run once; delete the folder to measure again. Writes
results/scores*.json and .md, one a task.
"""

import hashlib
import json
import re
from pathlib import Path

import click

from keras_rdanet.data import sources
from keras_rdanet.evaluation.comparison import Method, baseline_methods
from keras_rdanet.evaluation.evaluate import evaluate, open_identified, task_of
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.files import write_json
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.tasks import registry
from keras_rdanet.weights.catalogue import list_models

RESULTS = Path(__file__).parent / "results"
# Task and channels -> its usual test sets; pairs lie in folders `noisy` and `clean`.
SETS = {
    ("gaussian_noise", 1): ("set12", "bsd68"),
    ("gaussian_noise", 3): ("cbsd68", "kodak24"),
    ("camera_noise", 3): ("cc15",),
    ("jpeg", 1): ("classic5",),
}
PAIRED = ("camera_noise",)
NOTES = """\
PSNR in dB / SSIM, means over the images, by the protocols of `keras-rdanet evaluate`: unclipped
noise of seed 0 for every image, real JPEG compression, or pairs as they are; images restored
whole, scored in 8 bits. The classical methods are told the true sigma, and
`benchmarks/results/baseline_settings.md` says how their settings were chosen. Seconds are those of
sigma 25 or quality 20 and may have been measured on a busy machine."""


def protocols(task):
    """Return the protocols of a task, one a level."""
    return registry.protocols(task, paired=task in PAIRED)


def level(protocol):
    """Say how strongly a protocol degrades: `"sigma 25"`, `"quality 10"`, `"pairs"`."""
    if protocol.paired:
        return "pairs"
    ((kind, value),) = protocol.task.level.items()
    return f"{kind} {value:g}"


def open_set(data, protocol):
    """Return the images of a test set."""
    if protocol.paired:
        return sources.pairs(data / "noisy", data / "clean")
    return sources.folder(data, recursive=False)


def measure(method, data, protocol, limit, cache, cached_only):
    """Return the result of one method on one set, from the cache if it is there.

    With `cached_only` nothing is measured, and `None` stands for what is not there.
    """
    function = method.function
    strength = protocol.noise_level or level(protocol)
    what = [data.name, strength, limit, function.name, function.precision, method.details]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    stored = cache / f"{data.name}-{level(protocol).replace(' ', '')}-{key}.json"
    if cached_only and not stored.exists():
        return None
    if not stored.exists():
        result = evaluate(
            function,
            protocol,
            open_set(data, protocol),
            details=method.details,
            limit=limit,
            progress=True,
        )
        write_json(stored, {"data": data.name, "results": [result.as_dict()]})
    return json.loads(stored.read_text(encoding="utf-8"))["results"][0]


def row(data, protocol, result):
    """Flatten a result."""
    method, described, environment = (result[k] for k in ("method", "protocol", "environment"))
    return {
        "data": data.name,
        "method": method["name"],
        "precision": method["precision"],
        "level": level(protocol),
        **result["mean"],
        "seconds_per_image": result["seconds_per_image"],
        "images": described["images"],
        "degraded_sha256": described["degraded_sha256"],
        "details": {k: v for k, v in method.items() if k not in ("name", "precision")},
        "cpu": environment["cpu"],
        "gpus": environment["gpus"],
    }


def arrange(rows):
    """Return a line for each set and method, a column for each level."""
    lines = {}
    # By level, as columns come in the order of their first cells.
    for one in sorted(rows, key=lambda one: int(re.sub(r"\D", "", one["level"]) or 0)):
        key = one["data"], one["method"], one["precision"]
        cells = lines.setdefault(key, dict(zip(("data", "method", "precision"), key, strict=True)))
        cells[one["level"]] = f"{one['psnr']:.2f} / {one['ssim']:.4f}"
        if one["level"] in ("sigma 25", "quality 20", "pairs"):
            cells["s/image"] = f"{one['seconds_per_image']:.3g}"
    return [lines[key] for key in sorted(lines, key=lambda key: key[0])]


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds the folders set12, bsd68, cbsd68, kodak24, cc15 and classic5.",
)
@click.option("--model", "models", multiple=True, help="Default: all weights of the catalogue.")
@click.option("--precision", "precisions", multiple=True, default=["float32"], show_default=True)
@click.option("--baselines/--no-baselines", default=True, show_default=True)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="METHOD",
    help="Leave out this method, such as BM3D, which takes hours.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Use the first N images only, as a trial; write nothing.",
)
@click.option("--cached-only", is_flag=True, help="Measure nothing; write the results so far.")
@click.option("--cache", type=click.Path(path_type=Path), default="runs/scores", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where to write.")
def main(data, models, precisions, baselines, leave_out, limit, cached_only, cache, results):
    """Score the shipped weights and the classical methods on the usual test sets."""
    names = models or [entry.name for entry in list_models()]
    opened = [open_identified(n, precision=p) for n in names for p in precisions]
    rows: dict[str, list] = {}

    def add(task, method, name, protocol):
        result = measure(method, data / name, protocol, limit, cache, cached_only)
        if result is None:
            return
        rows.setdefault(task, []).append(row(data / name, protocol, result))
        cells = arrange(rows[task][-1:])[0]
        click.echo(", ".join(f"{key} {value}" for key, value in cells.items()))

    for (task, channels), sets in SETS.items():
        for function, details in opened:
            if (task_of(function), function.channels) == (task, channels):
                for name, protocol in [(n, p) for n in sets for p in protocols(task)]:
                    add(task, Method(function, details=details), name, protocol)
    others = []
    for (task, channels), sets in SETS.items() if baselines else ():
        for protocol in protocols(task):
            if protocol.noise_level is not None:
                methods, missing = baseline_methods(protocol.noise_level, channels)
                methods = [method for method in methods if method.function.name not in leave_out]
                click.echo("".join(f"{line}\n" for line in missing), nl=False, err=True)
            else:
                methods = [Method(ImageFunction(lambda images: images, channels, "input"))]
            others += [(task, method, name, protocol) for name in sets for method in methods]
    # BM3D takes longer than all the rest together.
    for other in sorted(others, key=lambda other: other[1].function.name == "BM3D"):
        add(*other)
    if limit is None:
        for task, measured in rows.items():
            write_results(
                "scores" if task == "gaussian_noise" else f"scores_{task}",
                measured,
                title=f"Scores on the usual test sets: {task.replace('_', ' ')}",
                command="python benchmarks/scores.py --data FOLDER_WITH_THE_SETS",
                notes=NOTES,
                table=arrange(measured),
                folder=results,
            )


if __name__ == "__main__":
    main()
