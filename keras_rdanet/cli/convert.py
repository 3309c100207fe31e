"""`keras-rdanet convert`: weights of the original PyTorch code for our networks."""

from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--preset", required=True, help="Network it belongs to, tsp_rdanet_gray say.")
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
def convert(checkpoint, output, preset, overrides, dtype):
    """Convert a .pth, .npz or .safetensors CHECKPOINT into OUTPUT, a .safetensors file.

    Everything that takes the name of a model takes the file. The terms of the
    checkpoint hold for it, too.
    """
    import yaml

    load_tensorflow()
    from keras_rdanet.models import registry
    from keras_rdanet.weights.from_torch import from_torch
    from keras_rdanet.weights.store import save_weights

    if output.suffix != ".safetensors":
        raise click.UsageError(f"{output} must end in .safetensors.")
    if not output.parent.is_dir():
        raise click.UsageError(f"There is no folder {output.parent} to write to.")
    if not all("=" in override for override in overrides):
        raise click.UsageError("--set takes KEY=VALUE.")
    pairs = (override.split("=", 1) for override in overrides)
    values = {key: yaml.safe_load(text) for key, text in pairs}
    # The tensors would fit a network with our additions as well, and give nonsense.
    values = {**registry.network(preset).AS_PUBLISHED, **values}
    model = registry.build(preset, **values)
    report = from_torch(model, checkpoint)
    metadata = {"preset": preset, "overrides": values, "task": f"converted from {checkpoint.name}"}
    save_weights(model, output, metadata=metadata, dtype=dtype)
    click.echo(f"{report}: {output}")
