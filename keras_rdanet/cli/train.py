"""`keras-rdanet train`: a run from a config."""

from pathlib import Path

import click

from keras_rdanet.cli.startup import load_tensorflow


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of --output.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; runs/NETWORK/TASK by default.",
)
def train(config, overrides, resume, output):
    """Train a network as CONFIG says, for example configs/tsp_rdanet/gray.yaml."""
    from keras_rdanet.config import load_config

    options = load_config(config, overrides)
    output = output or Path("runs") / config.parent.name / config.stem

    load_tensorflow()
    from keras_rdanet.training.fit import train as run

    try:
        report = run(options, output, resume=resume)
    except FloatingPointError as error:
        raise ValueError(str(error)) from None
    except KeyboardInterrupt:
        click.echo(f"\nStopped; go on with --resume --output {output}", err=True)
        raise SystemExit(130) from None
    final = report["final"]
    scores = ", ".join(f"{key} {value:.4g}" for key, value in final.items() if key != "step")
    click.echo(f"{report['steps']} steps in {report['hours']:.2f} h: {scores}")
    click.echo(f"weights: {output / 'weights.safetensors'}")
