"""`keras-rdanet evaluate`: the scores of a model on a test set."""

from pathlib import Path
from typing import Any

import click

from keras_rdanet.cli.options import TaskName, trust_model
from keras_rdanet.cli.startup import quiet
from keras_rdanet.tasks import registry

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER_OR_FILE = click.Path(exists=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
SHOWN_IMAGES = 15
MANY = "; may be given several times"


def _task_options(command):
    """Add the evaluation options of every task."""
    for task in reversed(registry.TASKS.values()):
        for option in reversed(task.evaluation_options):
            kind: Any = click.FloatRange if option.kind == "number" else click.IntRange
            command = click.option(
                f"--{option.name.replace('_', '-')}",
                type=kind(option.low, option.high),
                multiple=option.many,
                help=f"--task {task.name}: {option.help}{MANY if option.many else ''}.",
            )(command)
    return command


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
@click.option(
    "--model", required=True, metavar="NAME|FILE", help="Network or exported file to score."
)
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
    type=click.Choice(list(registry.layouts())),
    help="--data holds pairs, those of a public set.",
)
@click.option(
    "--split", type=click.Choice(["train", "test"]), help="Part of the public set of --layout."
)
@click.option(
    "--task",
    type=TaskName(),
    help="Degradation and protocol; by default the task that the model was trained for.",
)
@_task_options
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
    help="Precision of the computation; float32 by default.",
)
@trust_model
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
    baselines,
    self_ensemble,
    tile,
    precision,
    trust_model,
    limit,
    json_file,
    markdown_file,
    sheet_file,
    **task_options,
):
    """Score a model by PSNR and SSIM: on clean images, which --task degrades, or on pairs.

    A gray model loads colour files as gray; the protocol in --json says all
    that the scores depend on.
    """
    if (data is None) == (pairs is None):
        raise click.UsageError("Give either --data or --pairs DEGRADED CLEAN.")
    if (layout and pairs) or (split and not layout):
        raise click.UsageError("--layout needs --data, and --split needs --layout.")
    paired = bool(pairs or layout)
    levels = {name: value for name, value in task_options.items() if value not in (None, ())}
    task = _task_of_options(task, levels, paired)
    if sheet_file is not None:
        import numpy as np

        from keras_rdanet.image.io import PictureHeader, check_target

        # An unusable output path is refused before the work.
        check_target(sheet_file, PictureHeader(1, 1, 3, np.dtype("uint8"), has_alpha=False))

    from keras_rdanet.evaluation.comparison import Method, baseline_methods, compare
    from keras_rdanet.evaluation.evaluate import open_identified, task_of

    # The images decide between the gray and the RGB network of a family.
    channels = _source(data, pairs, layout, split, scale=None).headers(0)[-1].channels
    with quiet():
        function, details = open_identified(
            model, precision=precision, channels=channels, trust=trust_model
        )
    source = _source(data, pairs, layout, split, function.scale)
    if layout:
        owner, published = registry.layout(layout)
        task = task or owner.name
        if published.crop_border is not None:
            levels = {"crop_border": published.crop_border, **levels}
    task = task or task_of(function)
    if task is None and not paired:
        raise click.UsageError(f"{model} does not say what it was trained for; give a --task.")
    protocols = registry.protocols(task, function.scale, paired=paired, **levels)
    if baselines and not registry.usual(task, function.scale).is_noise:
        raise click.UsageError(f"--baselines are denoisers; the task is {task}.")
    if tile is None:
        whole = function.tile_shape is None and function.support != "nonlocal"
        tile = "off" if whole else "auto"
    methods = [Method(function, tile=tile, details=details)]
    if self_ensemble:
        methods.append(Method(function, tile=tile, ensemble=True, details=details))
    comparisons = []
    for protocol in protocols:
        others, missing = (
            baseline_methods(protocol.noise_level, function.channels) if baselines else ([], [])
        )
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


def _task_of_options(task, levels, paired):
    """The task that --task or an option of one task names; None if there are none."""
    for name in levels:
        flag = f"--{name.replace('_', '-')}"
        owner, option = next(
            (one, option)
            for one in registry.TASKS.values()
            for option in one.evaluation_options
            if option.name == name
        )
        if task not in (None, owner.name):
            raise click.UsageError(f"{flag} belongs to --task {owner.name}, not to {task}.")
        if paired != option.of_pairs:
            raise click.UsageError(
                f"{flag} cannot be used with {'pairs' if paired else 'clean images'}."
            )
        task = owner.name
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
