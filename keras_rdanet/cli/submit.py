"""`keras-rdanet submit`: files for the servers of real-noise benchmarks."""

from pathlib import Path

import click

from keras_rdanet.cli.options import trust_model
from keras_rdanet.cli.startup import quiet

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
TARGET = click.Path(path_type=Path)


def _model_options(command):
    for option in (
        trust_model,
        click.option("--self-ensemble", is_flag=True, help="Slightly better, eight times slower."),
        click.option("--model", required=True, metavar="NAME|FILE", help="What restores."),
    ):
        command = option(command)
    return command


@click.group()
def submit():
    """Restore the images of a benchmark and write the files that its server takes."""


@submit.command()
@click.argument("blocks", metavar="BenchmarkNoisyBlocksSrgb.mat", type=FILE)
@click.argument("target", metavar="OUT", type=TARGET)
@_model_options
def sidd(blocks, target, **options):
    """SIDD's sRGB benchmark: OUT is SubmitSrgb.mat, or SubmitSrgb.csv for Kaggle."""
    from keras_rdanet.evaluation.sidd import write_submission

    restorer, name = _open(**options)
    write_submission(restorer, blocks, target, method=name, progress=True)
    click.echo(f"wrote {target}")


@submit.command()
@click.argument("folder", metavar="DND", type=FOLDER)
@click.argument("target", metavar="OUT", type=TARGET)
@_model_options
def dnd(folder, target, **options):
    """DND's sRGB track: DND holds info.mat and images_srgb; OUT is the folder to submit."""
    from keras_rdanet.evaluation.dnd import write_submission

    restorer, _ = _open(**options)
    written = write_submission(restorer, folder, target, progress=True)
    click.echo(f"wrote {len(written)} files to {target}")


def _open(model, **options):
    """The restorer, and what it is called."""
    from keras_rdanet.inference.restorer import Restorer

    with quiet():
        restorer = Restorer(model, **options)
        function = restorer.function_for(3, "float32")
    if function.scale != 1:
        raise ValueError(f"{function.name} enlarges images; these benchmarks are of denoising.")
    return restorer, function.name
