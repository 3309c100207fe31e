"""`keras-rdanet export`: a network as files that servers and phones run, each of them proven."""

import sys
import time
from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow, quiet

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# Format -> the variants it comes in; those of `keras_rdanet.export.exporter`.
FORMATS = {
    "saved_model": ("fp32",),
    "onnx": ("fp32", "int8"),
    "tflite": ("fp32", "fp16", "dynamic", "int8", "int8_uint8", "int16x8"),
}
VARIANTS = ("fp32", "fp16", "dynamic", "int8", "int8_uint8", "int16x8")
CALIBRATED = ("int8", "int8_uint8", "int16x8")
CHANNELS = {"gray": 1, "rgb": 3}


class _Choices(click.ParamType):
    """Several of some words, with commas between them."""

    def __init__(self, words):
        self.words = words
        self.name = ",".join(words)

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        chosen = tuple(word.strip() for word in value.split(","))
        unknown = [word for word in chosen if word not in self.words]
        if unknown:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(self.words)}.", param, ctx)
        return chosen


@click.command()
@click.argument("model", metavar="NAME|FILE")
@click.option(
    "--format",
    "formats",
    type=_Choices(tuple(FORMATS)),
    help="Without it, all that come in one of the variants.",
)
@click.option(
    "--variants",
    type=_Choices(VARIANTS),
    default=",".join(VARIANTS),
    show_default=True,
    help="int8 takes and gives floats, int8_uint8 the samples of 8-bit pictures.",
)
@click.option(
    "--size",
    type=click.IntRange(min=16),
    help="Height and width of .tflite inputs; 256, or 64 for networks that compare all positions.",
)
@click.option(
    "--data",
    type=FOLDER,
    help="Folder of clean pictures that int8 learns its ranges from, and that --test defaults to.",
)
@click.option("--test", type=FOLDER, help="Folder of clean pictures that prove every file.")
@click.option(
    "--pictures", type=click.IntRange(min=1), default=8, show_default=True, help="Of --test."
)
@click.option(
    "--channels",
    type=click.Choice(list(CHANNELS)),
    help="Which network of a family; without it, the one that suits the pictures.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--fine-tune",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Train int8 files that miss their gate so long on --data, and prove them again; 0 is off.",
)
@click.option("--force", is_flag=True, help="Publish files that miss their gate as well.")
def export(model, formats, variants, size, data, test, pictures, channels, out, fine_tune, force):
    """Export a network, by name or weights file, to --out.

    Every file is compared with the network: its output, its PSNR on pictures
    degraded as those it was trained for, its speed. A file that loses more
    than it may is not published. Without pictures a drawn scene is used, and
    int8 cannot be made.
    """
    formats = formats or tuple(name for name in FORMATS if set(FORMATS[name]) & set(variants))
    for name in formats:
        if not set(FORMATS[name]) & set(variants):
            raise click.UsageError(
                f"{name} comes as {', '.join(FORMATS[name])}; --variants has none of these."
            )
    possible = {variant for name in formats for variant in FORMATS[name]}
    learning = [v for v in CALIBRATED if v in possible and v in variants]
    if learning and data is None:
        others = [v for v in VARIANTS if v in possible and v not in CALIBRATED]
        raise click.UsageError(
            f"{', '.join(learning)}: ranges are learnt from pictures; give a folder of them "
            f"with --data, or leave int8 out (--variants {','.join(others)})."
        )
    if fine_tune and data is None:
        raise click.UsageError(
            "--fine-tune learns from pictures: give a folder of them with --data."
        )
    from tqdm import tqdm

    load_tensorflow()
    from keras_rdanet.export import exporter as publish
    from keras_rdanet.export import job as prepare

    wanted = publish.combinations(formats, variants)
    start = time.perf_counter()
    refused = 0
    with tqdm(total=len(wanted), unit="file", disable=None, leave=False) as bar:
        bar.set_description("pictures")
        with quiet():
            subject = prepare.subject(
                model,
                data=data,
                test=test,
                channels=CHANNELS.get(channels),
                size=size,
                pictures=pictures,
                calibrate=bool(learning),
            )
        with tqdm.external_write_mode():
            click.echo(
                f"{subject.metadata.name}: {len(subject.reference.samples)} pictures to prove it on"
            )
        made = publish.publish(subject, wanted, out, force=force, fine_tune=fine_tune)
        for format, variant in wanted:
            bar.set_description(publish.file_name(format, variant))
            with quiet():
                report = next(made)
            bar.update()
            with tqdm.external_write_mode():
                click.echo(_line(report, force))
            refused += not report.passed
    click.echo(f"{out / publish.SUMMARY}, {time.perf_counter() - start:.0f} s")
    if refused and not force:
        sys.exit(1)


def _line(report, force):
    figures = {key: value for key, value in report.row().items() if value is not None}
    del figures["file"], figures["verdict"]
    line = ", ".join([report.file, *(f"{key} {value}" for key, value in figures.items())])
    if report.companions:
        line += f"; for TensorRT: {', '.join(report.companions)}"
    if report.passed:
        return line
    published = "published all the same" if force and report.parity else "not published"
    return f"{line}; {published}: {'; '.join(report.failures)}"
