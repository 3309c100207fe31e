"""`keras-rdanet evaluate`: the scores of a model on a test set."""

from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
SHOWN_IMAGES = 15


class _Tile(click.ParamType):
    name = "off|auto|four|N"

    def convert(self, value, param, ctx):
        from keras_rdanet.inference.tiling import check_tile

        tile = int(value) if str(value).isdecimal() else value
        if tile == "four":
            return tile
        try:
            check_tile(tile)
        except ValueError as error:
            self.fail(f"{error} Or 'four'.", param, ctx)
        return tile


@click.command()
@click.option("--model", required=True, metavar="NAME|FILE", help="What is scored.")
@click.option("--data", type=FOLDER, help="Folder of clean images, to which noise is added.")
@click.option(
    "--sigma",
    "sigmas",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    help="Noise level in gray levels of 0-255; may be repeated.",
)
@click.option(
    "--pairs",
    type=(FOLDER, FOLDER),
    metavar="NOISY CLEAN",
    help="Folders of real noisy images and their clean partners, matched by name.",
)
@click.option("--baselines", is_flag=True, help="Also score OpenCV, scikit-image and BM3D.")
@click.option(
    "--self-ensemble", is_flag=True, help="Also score the mean over eight flips and turns."
)
@click.option(
    "--tile",
    type=_Tile(),
    default="off",
    show_default=True,
    help="Whole images, or tiles; four: the four-tile routine of the original code.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="What the network computes in; float32 by default.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first N images.")
@click.option("--json", "json_file", type=FILE, help="Write protocol and all scores as JSON.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write tables as Markdown.")
@click.option("--sheet", "sheet_file", type=FILE, help="Write a picture: noisy, restored, target.")
def evaluate(
    model,
    data,
    sigmas,
    pairs,
    baselines,
    self_ensemble,
    tile,
    precision,
    limit,
    json_file,
    markdown_file,
    sheet_file,
):
    """Score a model by PSNR and SSIM: clean images with --data and --sigma, or real --pairs.

    A gray model loads colour files as gray; the protocol in --json says all
    that the scores depend on.
    """
    if (data is None) == (pairs is None):
        raise click.UsageError("Give either --data with --sigma, or --pairs NOISY CLEAN.")
    if (data is None) != (not sigmas):
        raise click.UsageError("--data and --sigma belong together.")
    if pairs and baselines:
        raise click.UsageError("--baselines need a known --sigma, which real --pairs have not.")
    if sheet_file is not None:
        import numpy as np

        from keras_rdanet.image.io import PictureHeader, check_target

        # Fail before the work, not after it.
        check_target(sheet_file, PictureHeader(1, 1, 3, np.dtype("uint8"), has_alpha=False))

    from keras_rdanet.data import sources
    from keras_rdanet.evaluation.comparison import Method, baseline_methods, compare
    from keras_rdanet.evaluation.evaluate import open_identified
    from keras_rdanet.evaluation.protocols import GaussianNoise, RealPairs

    source = sources.folder(data, recursive=False) if data else sources.pairs(*pairs)
    channels = source.headers(0)[-1].channels
    load_tensorflow()
    function, details = open_identified(model, precision=precision, channels=channels)
    methods = [Method(function, tile=tile, details=details)]
    if self_ensemble:
        methods.append(Method(function, tile=tile, ensemble=True, details=details))
    comparisons = []
    for sigma in sigmas or [None]:
        protocol = RealPairs() if sigma is None else GaussianNoise(sigma)
        others, missing = baseline_methods(sigma, function.channels) if baselines else ([], [])
        comparisons.append(
            compare([*methods, *others], protocol, source, limit=limit, progress=True)
        )
        _show(comparisons[-1], missing)
    _write(comparisons, data or pairs[0], json_file, markdown_file, sheet_file)


def _show(comparison, missing):
    """Print the scores of the images, shortened, and the means."""
    from keras_rdanet.evaluation.report import text_table

    images = comparison.images()
    click.echo(f"\n{comparison.title}, {len(images)} images (PSNR in dB / SSIM)\n")
    click.echo(text_table(images[:SHOWN_IMAGES]))
    if len(images) > SHOWN_IMAGES:
        click.echo(f"... {len(images) - SHOWN_IMAGES} more; --markdown and --json have them all\n")
    click.echo(text_table(comparison.means()))
    for line in missing:
        click.echo(line, err=True)


def _write(comparisons, data, json_file, markdown_file, sheet_file):
    from keras_rdanet.evaluation.comparison import comparison_sheet
    from keras_rdanet.evaluation.report import write_json, write_text
    from keras_rdanet.image.io import Picture, write_picture

    if json_file is not None:
        results = [result.as_dict() for one in comparisons for result in one.results]
        write_json(json_file, {"data": data.resolve().name, "results": results})
    if markdown_file is not None:
        sections = [comparison.markdown() for comparison in comparisons]
        write_text(markdown_file, "\n".join([f"# Scores on {data.resolve().name}\n", *sections]))
    if sheet_file is not None:
        write_picture(sheet_file, Picture(comparison_sheet(comparisons)))
    for path in filter(None, (json_file, markdown_file, sheet_file)):
        click.echo(f"wrote {path}")
