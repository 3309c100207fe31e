"""`keras-rdanet evaluate`: the scores of a model on a test set."""

from pathlib import Path
from typing import get_args

import click

from keras_rdanet.cli.startup import quiet
from keras_rdanet.config import Layout

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER_OR_FILE = click.Path(exists=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
SHOWN_IMAGES = 15
# Those of `keras_rdanet.evaluation.tasks`, which is heavier than --help should be.
TASKS = (
    "gaussian_noise",
    "camera_noise",
    "jpeg",
    "bayer_mosaic",
    "motion_blur",
    "rain_streaks",
    "bicubic",
)


class _Tile(click.ParamType):
    name = "off|auto|four|chop|N"

    def convert(self, value, param, ctx):
        from keras_rdanet.inference.tiling import check_tile

        tile = int(value) if str(value).isdecimal() else value
        if tile in ("four", "chop"):
            return tile
        try:
            check_tile(tile)
        except ValueError as error:
            self.fail(f"{error} Or 'four', or 'chop'.", param, ctx)
        return tile


@click.command()
@click.option("--model", required=True, metavar="NAME|FILE", help="What is scored.")
@click.option("--data", type=FOLDER, help="Folder of clean images, which are degraded.")
@click.option(
    "--pairs",
    type=(FOLDER_OR_FILE, FOLDER_OR_FILE),
    metavar="DEGRADED CLEAN",
    help="Folders of degraded images and their clean partners, matched by name; or the .mat files "
    "of SIDD's validation blocks.",
)
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    help="--data holds pairs, those of a public set.",
)
@click.option("--split", type=click.Choice(["train", "test"]), help="Of --layout.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    help="How images are degraded and scored; what the model was trained for, if it says so.",
)
@click.option(
    "--sigma",
    "sigmas",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    help="Of gaussian_noise, in gray levels of 0-255; may be repeated; 15, 25 and 50 by default.",
)
@click.option(
    "--mean", type=float, help="Of the noise of gaussian_noise, in gray levels; 0 by default."
)
@click.option(
    "--quality",
    "qualities",
    type=click.IntRange(1, 100),
    multiple=True,
    help="Of jpeg; may be repeated; 10, 20, 30 and 40 by default.",
)
@click.option(
    "--crop-border",
    type=click.IntRange(min=0),
    help="Of bicubic pairs: pixels not scored on every side; the scale by default.",
)
@click.option("--baselines", is_flag=True, help="Noise: also score OpenCV, scikit-image and BM3D.")
@click.option(
    "--self-ensemble", is_flag=True, help="Also score the mean over eight flips and turns."
)
@click.option(
    "--tile",
    type=_Tile(),
    help="off: whole images, the default where the model takes them; auto or N: blended tiles; "
    "four, chop: as the original code of TSP-RDANet, of PANet and PA-EDSR.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="What the network computes in; float32 by default.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first N images.")
@click.option("--json", "json_file", type=FILE, help="Write protocol and all scores as JSON.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write tables as Markdown.")
@click.option(
    "--sheet", "sheet_file", type=FILE, help="Write a picture: degraded, restored, target."
)
def evaluate(
    model,
    data,
    pairs,
    layout,
    split,
    task,
    sigmas,
    mean,
    qualities,
    crop_border,
    baselines,
    self_ensemble,
    tile,
    precision,
    limit,
    json_file,
    markdown_file,
    sheet_file,
):
    """Score a model by PSNR and SSIM: on clean images, which --task degrades, or on pairs.

    A gray model loads colour files as gray; the protocol in --json says all
    that the scores depend on.
    """
    if (data is None) == (pairs is None):
        raise click.UsageError("Give either --data or --pairs DEGRADED CLEAN.")
    if (layout and pairs) or (split and not layout):
        raise click.UsageError("--layout is of --data, and --split of --layout.")
    paired = bool(pairs or layout)
    task = _task_of_options(task, sigmas, mean, qualities, crop_border, paired)
    if sheet_file is not None:
        import numpy as np

        from keras_rdanet.image.io import PictureHeader, check_target

        # Fail before the work, not after it.
        check_target(sheet_file, PictureHeader(1, 1, 3, np.dtype("uint8"), has_alpha=False))

    from keras_rdanet.evaluation import tasks
    from keras_rdanet.evaluation.comparison import Method, baseline_methods, compare
    from keras_rdanet.evaluation.evaluate import open_identified
    from keras_rdanet.evaluation.protocols import GaussianNoise

    # Whether a family's gray or RGB network is meant, the images say.
    channels = _source(data, pairs, layout, split, scale=None).headers(0)[-1].channels
    with quiet():
        function, details = open_identified(model, precision=precision, channels=channels)
    source = _source(data, pairs, layout, split, function.scale)
    task = task or tasks.LAYOUTS.get(layout) or tasks.task_of(function)
    if task in (None, "gaussian_noise") and paired:
        task = "camera_noise"
    if task is None:
        raise click.UsageError(f"{model} does not say what it was trained for; give a --task.")
    if baselines and task not in ("gaussian_noise", "camera_noise"):
        raise click.UsageError(f"--baselines are denoisers; this is {task}.")
    if tile is None:
        whole = function.tile_shape is None and function.support != "nonlocal"
        tile = "off" if whole else "auto"
    if paired:
        border = tasks.CROP_BORDERS.get(layout) if crop_border is None else crop_border
        protocols = [tasks.pair_protocol(task, function.scale, border)]
    else:
        protocols = tasks.clean_protocols(task, function.scale, sigmas, qualities, mean or 0.0)
    methods = [Method(function, tile=tile, details=details)]
    if self_ensemble:
        methods.append(Method(function, tile=tile, ensemble=True, details=details))
    comparisons = []
    for protocol in protocols:
        sigma = protocol.sigma if isinstance(protocol, GaussianNoise) else None
        others, missing = baseline_methods(sigma, function.channels) if baselines else ([], [])
        comparisons.append(
            compare([*methods, *others], protocol, source, limit=limit, progress=True)
        )
        _show(comparisons[-1], missing)
    _write(comparisons, data or pairs[0], json_file, markdown_file, sheet_file)


def _source(data, pairs, layout, split, scale):
    """The images; of pairs, while the scale they are matched by is not known, some images."""
    from keras_rdanet.data import sources
    from keras_rdanet.evaluation.sidd import BlockPairs

    if pairs and all(path.is_file() for path in pairs):
        return BlockPairs(*pairs)
    if scale is None and (pairs or layout):
        return sources.folder(pairs[1] if pairs else data)
    if pairs:
        return sources.pairs(pairs[0], pairs[1], scale)
    if layout:
        return sources.layout(layout, data, split=split, scale=scale)
    return sources.folder(data, recursive=False)


def _task_of_options(task, sigmas, mean, qualities, crop_border, paired):
    """The task that --task or options of one task name; None if there are none."""
    for option, given, owner in (
        ("--sigma", sigmas, "gaussian_noise"),
        ("--mean", mean is not None, "gaussian_noise"),
        ("--quality", qualities, "jpeg"),
        ("--crop-border", crop_border is not None, "bicubic"),
    ):
        if given and task not in (None, owner):
            raise click.UsageError(f"{option} belongs to --task {owner}, not to {task}.")
        if given and paired != (option == "--crop-border"):
            raise click.UsageError(f"{option} is not of {'pairs' if paired else 'clean images'}.")
        if given:
            task = owner
    return task


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
    from keras_rdanet.files import write_json, write_text
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
