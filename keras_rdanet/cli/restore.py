"""`keras-rdanet restore`: a picture, or a folder of them."""

import collections
import contextlib
import functools
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import click

from keras_rdanet.cli.options import trust_model
from keras_rdanet.cli.startup import quiet
from keras_rdanet.files import one_line

# Name of the standard input or output.
STANDARD = Path("-")


class _Tile(click.ParamType):
    name = "auto|off|N"

    def convert(self, value, param, ctx):
        from keras_rdanet.inference.tiling import check_tile

        tile = int(value) if str(value).isdecimal() else value
        try:
            check_tile(tile)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return tile


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="NAME|FILE",
    help="A network that ships with the package (see `keras-rdanet models`) or a weights file; "
    "without it, a small one that suits most pictures.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the restored picture in the result; 0 changes nothing but what encoding a "
    "JPEG anew loses.",
)
@click.option("--self-ensemble", is_flag=True, help="Slightly better, eight times slower.")
@click.option(
    "--tile",
    type=_Tile(),
    default="auto",
    show_default=True,
    help="Side of the tiles in pixels; auto fits them to 2 GB of memory.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="auto: bfloat16 for 8-bit pictures if the processor has it.",
)
@trust_model
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Also write a picture that is IN in its left half and OUT in its right half.",
)
@click.option(
    "--mosaic",
    type=click.Choice(["rggb", "grbg", "gbrg", "bggr"]),
    help="IN is a Bayer mosaic, as a sensor records it, that starts so; for demosaicking models.",
)
@click.option("--sigma-estimate", is_flag=True, help="Print the estimated noise level.")
@click.option(
    "--add-noise",
    type=click.FloatRange(0),
    metavar="SIGMA",
    help="Add Gaussian noise first, in gray levels of 255, to try things out.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of the noise of --add-noise."
)
@click.option(
    "--format",
    type=click.Choice(["png", "jpg", "webp", "tif", "bmp"]),
    help="Format of the standard output (OUT is -); without it, that of IN.",
)
@click.option("--strip-metadata", is_flag=True, help="Write no EXIF, ICC profile or XMP.")
@click.option("--max-pixels", type=click.IntRange(1), help="Refuse larger pictures.")
@click.option("--recursive", is_flag=True, help="Folders: include sub-folders.")
@click.option("--resume", is_flag=True, help="Folders: skip pictures that are done already.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Folders: threads that read and write files.",
)
def restore(
    source,
    target,
    model,
    strength,
    self_ensemble,
    tile,
    precision,
    trust_model,
    compare,
    mosaic,
    sigma_estimate,
    add_noise,
    seed,
    format,
    strip_metadata,
    max_pixels,
    recursive,
    resume,
    jobs,
):
    """Restore the picture IN, or all pictures in the folder IN, to OUT.

    The result keeps the depth, alpha, EXIF and ICC profile of IN; the suffix
    of OUT chooses PNG, JPEG, WebP, TIFF or BMP. A super-resolution model makes
    it as much larger as its scale says. An older OUT is replaced, IN never. A
    folder OUT gets the names of IN and a report.jsonl. A single - stands for
    the standard input or output.
    """
    from keras_rdanet.image.io import MAX_PIXELS
    from keras_rdanet.inference.file import FileOptions
    from keras_rdanet.inference.restorer import Restorer

    if compare is not None and source.is_dir():
        raise click.UsageError("--compare goes with a single picture, not with a folder.")
    if mosaic and model is None:
        raise click.UsageError("--mosaic needs a --model that demosaics.")
    if mosaic and sigma_estimate:
        raise click.UsageError("--sigma-estimate cannot tell the pattern of a --mosaic from noise.")
    if STANDARD in (source, target) and source.is_dir():
        raise click.UsageError("A folder cannot be written to the standard output.")
    if format and target != STANDARD:
        raise click.UsageError(
            "--format is for the standard output; the suffix of any other OUT names the format."
        )
    _print_warnings_as_lines()
    # Messages go to the stream that no picture is written to.
    tell = functools.partial(click.echo, err=target == STANDARD)
    options = FileOptions(
        strip_metadata=strip_metadata,
        add_noise=add_noise,
        seed=seed,
        estimate_noise=sigma_estimate,
        max_pixels=max_pixels or MAX_PIXELS,
    )

    def open_restorer(channels, dtype):
        with quiet():
            restorer = Restorer(
                model,
                tile=tile,
                precision=precision,
                strength=strength,
                self_ensemble=self_ensemble,
                mosaic=mosaic,
                trust_model=trust_model,
            )
            restorer.function_for(channels, dtype)
        return restorer

    if source.is_dir():
        _restore_folder(open_restorer, source, target, options, recursive, resume, jobs)
        return
    with contextlib.ExitStack() as stack:
        if source == STANDARD:
            source = stack.enter_context(_standard_input(options.max_pixels))
        if target == STANDARD:
            target = stack.enter_context(_standard_output(source, format))
        _restore_file(open_restorer, source, target, options, compare, tell)


@contextlib.contextmanager
def _standard_input(max_pixels):
    """A file with the standard input, which must not be longer than the largest picture."""
    limit = 16 * max_pixels + 2**26
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "standard input")
        with open(path, "wb") as file:
            while block := sys.stdin.buffer.read(2**20):
                file.write(block)
                if file.tell() > limit:
                    raise ValueError(f"The standard input is longer than {limit} B.")
        yield path


@contextlib.contextmanager
def _standard_output(source, format):
    """A file that is written to the standard output when it is done."""
    from keras_rdanet.image.io import result_suffix

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"standard output{f'.{format}' if format else result_suffix(source)}")
        yield path
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()


def _restore_file(open_restorer, source, target, options, compare, tell):
    from keras_rdanet.inference.file import prepare, result_name

    if target.is_dir():
        target = target / result_name(source.name)
    with contextlib.ExitStack() as stack:
        # Unusable files are refused before a framework is loaded.
        job = stack.enter_context(prepare(source, target, options, compare=compare))
        restorer = open_restorer(job.header.channels, job.header.dtype)
        try:
            facts = job.restore(restorer, on_tile=_tile_bar(stack))
        except KeyboardInterrupt:
            click.echo(f"\nkeras-rdanet: stopped; {one_line(str(target))} is not written", err=True)
            sys.exit(130)
    if "sigma" in facts:
        tell(_sigma(source, facts))
    tell(
        f"{one_line(str(target))}: {facts['width']} x {facts['height']} pixels, "
        f"{facts['model']} in {facts['precision']}, {facts['seconds']:.1f} s"
    )


def _restore_folder(open_restorer, source, target, options, recursive, resume, jobs):
    from tqdm import tqdm

    from keras_rdanet.inference.folder import HIDDEN, find_pictures, restore_folder
    from keras_rdanet.inference.journal import REPORT

    find_pictures(source, target, recursive)
    restorer = open_restorer(1, "uint8")

    def tell(record):
        with tqdm.external_write_mode():
            if record["status"] == "failed" or (
                record["status"] == "skipped" and record["reason"] != HIDDEN
            ):
                skipped = "skipped, " if record["status"] == "skipped" else ""
                click.echo(
                    f"keras-rdanet: {one_line(record['file'])}: {skipped}{record['reason']}",
                    err=True,
                )
            if "sigma" in record:
                click.echo(_sigma(record["file"], record))

    try:
        records = restore_folder(
            restorer,
            source,
            target,
            options,
            recursive=recursive,
            resume=resume,
            jobs=jobs,
            on_record=tell,
        )
    except KeyboardInterrupt:
        click.echo("\nkeras-rdanet: stopped; the same command with --resume goes on", err=True)
        sys.stdout.flush()
        # Exit at once: results that threads still compute are not needed.
        os._exit(130)
    counts = collections.Counter(record["status"] for record in records)
    summary = f"{counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped"
    before = f"{counts['done']} done before, " if resume else ""
    click.echo(f"{before}{summary}; see {target / REPORT}")
    if counts["failed"]:
        sys.exit(1)


def _sigma(name, facts):
    return f"{one_line(str(name))}: estimated noise sigma {facts['sigma']:.1f} (of 255)"


def _tile_bar(stack):
    """A callback that shows how far a picture is, once there is more than one tile."""
    from keras_rdanet.progress import progress

    bars: list = []

    def on_tile(done, total):
        if total == 1:
            return
        if not bars:
            bars.append(stack.enter_context(progress(total, "tile")))
        bars[0].total = total
        bars[0].update(done - bars[0].n)

    return on_tile


def _print_warnings_as_lines():
    def show(message, *_):
        click.echo(f"keras-rdanet: {one_line(str(message))}", err=True)

    warnings.showwarning = show
    logging.basicConfig(format="keras-rdanet: %(message)s")
