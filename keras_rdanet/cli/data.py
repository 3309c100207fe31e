"""`keras-rdanet data`: check and pack training images."""

import sys
from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow
from keras_rdanet.data import packed
from keras_rdanet.tasks import registry

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _pair_options(command):
    """Add the options that say what pairs are."""
    for option in (
        click.option("--scale", default=1, help="Factor by which the targets of pairs are larger."),
        click.option(
            "--split",
            type=click.Choice(["train", "test"]),
            help="Part of the public set of --layout.",
        ),
        click.option(
            "--layout",
            type=click.Choice(list(registry.layouts())),
            help="FOLDER holds pairs of a public set.",
        ),
        click.option(
            "--pairs",
            nargs=2,
            type=_FOLDER,
            metavar="DEGRADED TARGET",
            help="Two folders of images that match by stem.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def data():
    """Check and pack training images."""


@data.command()
@click.argument("folder", type=_FOLDER, required=False)
@_pair_options
@click.option("--against", type=_FOLDER, help="A test set, which must not be trained on.")
@click.option("--min-size", type=click.IntRange(1), help="Report images smaller than this.")
def check(folder, pairs, layout, split, scale, against, min_size):
    """Look through the images of FOLDER, a packed set or --pairs.

    Reports sizes, depths, unreadable files, exact duplicates and images that are in
    the test set of --against too, however scaled, compressed, turned or flipped.
    Exits with 1 if something must not be trained on.
    """
    _one_of(folder, pairs, "FOLDER")
    from keras_rdanet.data import check as checking
    from keras_rdanet.data import sources

    report = checking.check(
        _open(folder, pairs, layout, split, scale),
        against=sources.folder(against) if against else None,
        min_size=min_size,
    )
    width = max(len(what) for what, _ in report.rows)
    for what, value in report.rows:
        click.echo(f"{what:{width}}  {value}")
    _list("warning", report.warnings)
    _list("error", report.errors)
    sys.exit(1 if report.errors else 0)


@data.command()
@click.argument("folders", nargs=-1, required=True, metavar="[FOLDER] OUT", type=click.Path())
@_pair_options
@click.option("--tile", default=256, show_default=True, help="Height and width of the tiles.")
@click.option("--overlap", default=32, show_default=True, help="Pixels that neighbours share.")
@click.option(
    "--shard-mb", default=64, show_default=True, type=click.IntRange(1), help="Shard size."
)
@click.option("--gray", is_flag=True, help="Pack the luma only, a third of the size.")
def pack(folders, pairs, layout, split, scale, tile, overlap, shard_mb, gray):
    """Pack the images of FOLDER, or --pairs, into checksummed TFRecord shards in OUT."""
    *folder, out = folders
    _one_of(folder, pairs, "FOLDER")
    if len(folder) > 1:
        raise click.UsageError("Give one FOLDER and OUT.")
    load_tensorflow()

    source = _open(Path(folder[0]) if folder else None, pairs, layout, split, scale)
    packed.pack(source, out, tile_size=tile, overlap=overlap, shard_mb=shard_mb, gray=gray)
    made = packed.packed(out)
    megabytes = sum(tile.length for tile in made.tiles) / 1e6
    kind = "pairs" if made.paired else "images"
    click.echo(f"{out}: {len(made)} tiles of {len(made.images)} {kind}, {megabytes:.1f} MB")


def _one_of(folder, pairs, name):
    if bool(folder) == bool(pairs):
        raise click.UsageError(f"Give either {name} or --pairs DEGRADED TARGET.")


def _open(folder, pairs, layout, split, scale):
    if pairs and layout:
        raise click.UsageError(
            "--layout needs a FOLDER; give a FOLDER, or --pairs without --layout."
        )
    if split and not layout:
        raise click.UsageError("--split belongs to --layout; give that as well.")
    if scale != 1 and not (pairs or layout):
        raise click.UsageError("--scale needs --pairs or --layout; clean images have no scale.")
    from keras_rdanet.data import sources

    if layout:
        return sources.layout(layout, folder, split=split, scale=scale)
    if pairs:
        return sources.pairs(pairs[0], pairs[1], scale)
    return packed.open_folder(folder)


def _list(kind, lines, limit=10):
    for line in lines[:limit]:
        click.echo(f"{kind}: {line}", err=kind == "error")
    if len(lines) > limit:
        click.echo(f"{kind}: and {len(lines) - limit} more", err=kind == "error")
