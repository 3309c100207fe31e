"""`keras-rdanet export`: a network as files that servers and phones run, each of them verified."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow, quiet
from keras_rdanet.export.formats.registry import FORMATS, select
from keras_rdanet.runtimes.metadata import VARIANTS

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
CHANNELS = {"gray": 1, "rgb": 3}


class _Choices(click.ParamType):
    """Several keys of a table, with commas between them."""

    def __init__(self, table: Mapping):
        self.table = table
        self.name = ",".join(table)

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        chosen = tuple(word.strip() for word in value.split(","))
        unknown = [word for word in chosen if word not in self.table]
        if unknown:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(self.table)}.", param, ctx)
        return chosen


@click.command()
@click.argument("model", metavar="NAME|FILE")
@click.option(
    "--format",
    "formats",
    type=_Choices(FORMATS),
    help="Formats to export to; by default all that come in one of the variants.",
)
@click.option(
    "--variants",
    type=_Choices(VARIANTS),
    help="Variants to export; by default all. int8 takes and gives floats, int8_uint8 the samples "
    "of 8-bit pictures.",
)
@click.option(
    "--size",
    type=click.IntRange(min=16),
    help="Height and width of .tflite inputs; 256, or 64 for networks that compare all positions.",
)
@click.option(
    "--calibration",
    "--data",
    "calibration",
    type=FOLDER,
    help="Folder of clean pictures on which int8 measures the ranges of its values; also the "
    "default of --test.",
)
@click.option("--test", type=FOLDER, help="Folder of clean pictures that verify every file.")
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Largest number of pictures of --test.",
)
@click.option(
    "--channels",
    type=click.Choice(list(CHANNELS)),
    help="Channels of the network of a family; by default those of the pictures.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--fine-tune",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Train int8 files that miss their tolerance for so many steps on --calibration, and "
    "verify them again; 0 is off.",
)
@click.option("--force", is_flag=True, help="Publish files that miss their tolerance as well.")
def export(model, formats, variants, channels, out, calibration, fine_tune, force, **options):
    """Export a network, by name or weights file, to --out.

    Every file is compared with the network: its output, its PSNR on pictures
    degraded as those it was trained for, its speed. A file that misses its
    tolerance is not published. Without pictures a drawn scene is used, and
    int8 cannot be made.
    """
    try:
        wanted = select(
            formats, variants, has_pictures=calibration is not None, fine_tune=fine_tune
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from tqdm import tqdm

    load_tensorflow()
    from keras_rdanet.export import exporter

    start = time.perf_counter()
    names = [FORMATS[format].file_name(variant) for format, variant in wanted]
    # On stdout: stderr is silenced while files are made.
    bar = tqdm(
        total=len(names), desc="pictures", unit="file", disable=None, leave=False, file=sys.stdout
    )
    following = iter(names[1:])

    def show(report):
        bar.update()
        bar.set_description(next(following, ""))
        with tqdm.external_write_mode(file=sys.stdout):
            click.echo(_line(report, force))

    with bar, quiet():
        reports = exporter.export(
            model,
            out,
            formats=formats,
            variants=variants,
            calibration=calibration,
            channels=CHANNELS.get(channels),
            fine_tune=fine_tune,
            force=force,
            on_report=show,
            **options,
        )
    seconds = time.perf_counter() - start
    click.echo(f"{reports[0].metadata.name}: {out / exporter.SUMMARY}, {seconds:.0f} s")
    if not force and not all(report.passed for report in reports):
        sys.exit(1)


def _line(report, force):
    figures = {key: value for key, value in report.row().items() if value is not None}
    del figures["file"], figures["verdict"]
    line = ", ".join([report.file, *(f"{key} {value}" for key, value in figures.items())])
    if report.sidecars:
        line += f"; beside it: {', '.join(report.sidecars)}"
    if report.passed:
        return line
    published = "published all the same" if force and report.missed else "not published"
    return f"{line}; {published}: {'; '.join(report.failures)}"
