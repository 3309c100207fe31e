"""`keras-rdanet convert`: weights of the original PyTorch code for our networks."""

from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow


class _Task(click.ParamType):
    name = "task"

    def convert(self, value, param, ctx):
        from keras_rdanet.tasks.registry import resolve

        try:
            return resolve(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--preset", required=True, help="Preset of its network, for example tsp_rdanet_gray.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override the preset: use_bias=true.",
)
@click.option(
    "--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True
)
@click.option(
    "--task",
    type=_Task(),
    help="Task of the weights, for example gaussian_noise or bayer_mosaic.",
)
def convert(checkpoint, output, preset, overrides, dtype, task):
    """Convert a .pth, .npz or .safetensors CHECKPOINT into OUTPUT, a .safetensors file.

    Everything that takes the name of a model takes the file. The license of the
    checkpoint holds for it, too.
    """
    import yaml

    from keras_rdanet import api

    if output.suffix != ".safetensors":
        raise click.UsageError(f"{output} must end in .safetensors.")
    if not output.parent.is_dir():
        raise click.UsageError(f"There is no folder {output.parent} to write to.")
    for override in overrides:
        if "=" not in override:
            raise click.UsageError(f"--set takes KEY=VALUE, got {override!r}.")
    pairs = (override.split("=", 1) for override in overrides)
    values = {key: yaml.safe_load(text) for key, text in pairs}
    load_tensorflow()
    report = api.convert(
        checkpoint, output, preset=preset, task=task, overrides=values, dtype=dtype
    )
    click.echo(f"{report}: {output}")
