"""Export every network to every format and tabulate the results.

    python benchmarks/exports.py --calibration FOLDER --test FOLDER

Takes all weights of the catalogue, and small untrained versions of the networks
without weights, which show what converts and how exactly. Every file's row is
kept in --cache once it is measured, so that an interrupted run goes on where it
was. Writes docs/exports.md and results/exports.json.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import click

from keras_rdanet.evaluation.report import describe_environment, markdown_table, write_results
from keras_rdanet.export.exporter import verify
from keras_rdanet.export.formats.registry import FORMATS, select
from keras_rdanet.export.job import NONLOCAL_TILE, job_of, prepare_job
from keras_rdanet.files import write_json, write_text
from keras_rdanet.models import registry
from keras_rdanet.profiling import environment
from keras_rdanet.runtimes.metadata import describe
from keras_rdanet.weights.catalogue import list_models

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "exports.md"
COMMAND = "python benchmarks/exports.py --calibration FOLDER --test FOLDER"

# Networks that are just deep and wide enough to contain all of their operations.
UNTRAINED = {
    "rdn_rgb": {"num_blocks": 2, "filters": 8, "growth_rate": 8, "num_layers": 3},
    "rdn_rgb_x2": {"num_blocks": 2, "filters": 8, "growth_rate": 8, "num_layers": 3},
    "mprnet_denoise": {"filters": 8, "unet_growth": 4, "orsnet_growth": 4, "num_blocks": 1},
    "danet_s_gray": {
        "filters": (8, 12, 16),
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "reduction": 4,
        "state": 4,
    },
    "panet_gray": {"filters": 8, "num_blocks": 2},
    "pa_edsr_x2": {"filters": 8, "num_blocks": 2},
}
WANTED = select(has_pictures=True)

INTRODUCTION = """\
Every cell is a file that `keras-rdanet export` made and compared with the network in Keras, in
float32, on the same pictures. It shows the loss of PSNR in dB, the size, and the speed as a
multiple of Keras. The PSNR of networks without weights means nothing, so their cells show the PSNR
between both outputs. :red_circle: files miss their tolerance or cannot be made; the command does
not publish them, and the reason is below the table."""

READING = """\
Speed is the ratio to Keras on this machine in one run, the least of three calls on one crop.
int16x8 runs on reference kernels here; it is meant for accelerators. SavedModel and ONNX files
take any size, TFLite files were made for {size}x{size} pixels ({nonlocal_size}x{nonlocal_size} for
networks that compare all positions). The PSNR is that of the protocol of the task, on {pictures}
crops of that size from the middle of pictures of {test}; quantizers were calibrated on those of
{calibration}."""


def measure(name, overrides, wanted, calibration, test, size, pictures):
    """Export a network of the catalogue, or an untrained one, and yield a row for each file."""
    options = {"calibration": calibration, "test": test, "pictures": pictures}
    if overrides is None:
        job = prepare_job(name, size=_side(registry.load(name), size), **options)
    else:
        model = registry.build(name, **overrides)
        metadata = describe(model)
        job = job_of(model, metadata, size=_side(model, size), trained=False, **options)
    with tempfile.TemporaryDirectory() as work:
        for format, variant in wanted:
            report, _ = verify(job, format, variant, Path(work))
            click.echo(", ".join(f"{key} {value}" for key, value in report.row().items()))
            yield row(job, report)


def _side(model, size):
    return None if model.support == "nonlocal" else size


def row(job, report):
    """Flatten a report."""
    parity = report.parity
    measured = {} if parity is None else dataclasses.asdict(parity)
    measured.pop("faults", None)
    return {
        "network": job.metadata.name,
        "trained": job.trained,
        "format": report.format,
        "variant": report.variant,
        "bytes": report.bytes,
        **measured,
        "psnr_loss": None if parity is None else parity.psnr_loss,
        "delegate_support": dict(report.delegate_support or {}),
        "failures": list(report.failures),
    }


def cell(one):
    """The loss, the size and the speed of a file in short."""
    if one["bytes"] == 0:
        return ":red_circle:"
    quality = (
        f"-{one['psnr_loss']:.3f} dB"
        if one["trained"]
        else f"{float(one['agreement']):.0f} dB alike"
    )
    figures = f"{quality.replace('--', '+')}, {one['bytes'] / 1e6:.2f} MB, {one['speedup']:.2g}x"
    return f":red_circle: {figures}" if one["failures"] else figures


def document(rows, settings):
    """Return docs/exports.md."""
    names = list(dict.fromkeys(one["network"] for one in rows))
    matrix = []
    for name in names:
        own = {(one["format"], one["variant"]): one for one in rows if one["network"] == name}
        trained = next(iter(own.values()))["trained"]
        line = {"network": name if trained else f"{name}, small, untrained"}
        line |= {f"{f} {v}": cell(own[f, v]) if (f, v) in own else None for f, v in WANTED}
        matrix.append(line)
    reasons = [
        f"- {one['network']}, {one['format']} {one['variant']}: {'; '.join(one['failures'])}"
        for one in rows
        if one["failures"]
    ]
    tolerances = [
        {
            "file": f"{format} {variant}",
            "may lose, dB": FORMATS[format].variants[variant].tolerance.psnr_loss,
            "may differ by": FORMATS[format].variants[variant].tolerance.max_abs_error,
        }
        for format, variant in WANTED
    ]
    targets = [
        {
            "network": one["network"],
            "variant": one["variant"],
            **{
                target: "; ".join(lines) or "fit"
                for target, lines in one["delegate_support"].items()
            },
        }
        for one in rows
        if one["delegate_support"]
    ]
    return (
        "\n\n".join(
            [
                "# Exports",
                f"`{COMMAND}`",
                INTRODUCTION,
                markdown_table(matrix).rstrip(),
                READING.format(**settings),
                "## Files that miss their tolerance, and why",
                "\n".join(reasons) or "Nothing.",
                "## Tolerances",
                markdown_table(tolerances).rstrip(),
                "## Delegate support of TFLite files",
                "Operations, shapes and types that a target does not support. No phone was tried.",
                markdown_table(targets).rstrip(),
                f"Measured on {describe_environment(environment())}.",
            ]
        )
        + "\n"
    )


def read_rows(path):
    """The rows of a file in --cache; those of version 0.1.0 call the delegate support "audit"."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [{"delegate_support": one.pop("audit", {}), **one} for one in rows]


@click.command()
@click.option("--calibration", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--test", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--size", default=128, show_default=True)
@click.option("--pictures", default=6, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default="runs/exports", show_default=True)
@click.option("--only", multiple=True, help="Names of networks; the others come from the cache.")
def main(calibration, test, size, pictures, cache, only):
    """Write the matrix of networks, formats and variants."""
    weights = {entry.name: entry.sha256[:12] for entry in list_models()}
    networks = dict.fromkeys(weights) | UNTRAINED
    rows = []
    for name, overrides in networks.items():
        stored = cache / f"{name}-{weights.get(name, 'untrained')}-{size}-{pictures}.json"
        own = read_rows(stored) if stored.exists() else []
        done = {(one["format"], one["variant"]) for one in own}
        missing = [pair for pair in WANTED if pair not in done]
        if missing and (not only or name in only):
            click.echo(f"{name}:")
            for one in measure(name, overrides, missing, calibration, test, size, pictures):
                own.append(one)
                write_json(stored, own)
        rows += sorted(own, key=lambda one: WANTED.index((one["format"], one["variant"])))
    settings = {
        "size": size,
        "nonlocal_size": NONLOCAL_TILE,
        "pictures": pictures,
        "calibration": calibration.resolve().name,
        "test": test.resolve().name,
    }
    write_text(DOCUMENT, document(rows, settings))
    write_results(
        "exports",
        rows,
        title="Exports",
        command=COMMAND,
        settings=settings,
        table=[
            {"network": r["network"], "file": f"{r['format']} {r['variant']}", "": cell(r)}
            for r in rows
        ],
        folder=RESULTS,
    )


if __name__ == "__main__":
    main()
