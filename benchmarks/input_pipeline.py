"""Compare how fast a packed set feeds training with how fast training consumes it.

    python benchmarks/input_pipeline.py FOLDER [--config configs/tsp_rdanet/tiny_rgb.yaml]

FOLDER holds clean images, or is a packed set already. For every phase of the config the
script times three things: reading batches that are not used, training steps on one batch in
memory, and both together. The target is a ratio of 3.
"""

import os
import tempfile
import time
from pathlib import Path

import click
import tensorflow as tf

from keras_rdanet.config import load_config
from keras_rdanet.data.input_wait import InputWait
from keras_rdanet.data.packed import MANIFEST, pack
from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.training import build

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).parents[1] / "configs" / "tsp_rdanet" / "tiny_rgb.yaml"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--config", "path", type=_FILE, default=CONFIG, help="A training config.")
@click.option("--steps", default=15, show_default=True, help="Training steps to time.")
@click.option("--seconds", default=10.0, show_default=True, help="Time for reading batches.")
def main(images, path, steps, seconds):
    """Measure and write results/input_pipeline.json and .md."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        packed = images
        if not (images / MANIFEST).exists():
            packed = Path(temporary, "packed")
            pack(folder(images), packed)
        config = load_config(path, [f"data.train={packed}", "data.cache=none"])
        rows = [measure(config, phase, steps, seconds) for phase in config.data.phases]
    for row in rows:
        click.echo(row)
    write_results(
        "input_pipeline",
        rows,
        title="A packed set against the training it feeds",
        command="python benchmarks/input_pipeline.py FOLDER_OF_IMAGES",
        settings={"config": path.name, "steps": steps, "seconds": seconds, "load": load},
        notes=(
            f"Recipe: `{path.name}` ({config.model.preset}, {config.precision}), crops per tile "
            f"{config.data.crops_per_image}; no RAM cache. Feeding was measured alone, with 2 "
            "input threads, training alone on a batch in memory, the wait with both together. "
            f"Other programs loaded the machine with {load:.1f} when it began."
        ),
        folder=RESULTS,
    )


def measure(config, phase, steps, seconds):
    """Measure one phase: crops per second of input and training, and the wait of both."""
    endless = phase.model_copy(update={"steps": 10**9})
    data = config.data.model_copy(update={"phases": [endless]})
    config = config.model_copy(update={"data": data})
    model = build.build_model(config)
    build.compile_model(model, config)
    batches = build.build_batches(config, model)
    fed = read(batches, seconds) * phase.batch_size

    batch = next(iter(batches))
    trained = phase.batch_size / train(model, tf.data.Dataset.from_tensors(batch).repeat(), steps)
    wait = InputWait()
    together = phase.batch_size / train(model, wait.watch(batches), steps, wait)
    return {
        "patch": phase.patch_size,
        "batch": phase.batch_size,
        "input crops/s": round(fed, 1),
        "input Mpixel/s": round(fed * phase.patch_size**2 / 1e6, 2),
        "training crops/s": round(trained, 1),
        "ratio": round(fed / trained, 1),
        "together crops/s": round(together, 1),
        "input wait %": round(100 * wait.share(), 1),
    }


def read(batches, seconds):
    """Return the number of batches read in a second."""
    iterator = iter(batches)
    next(iterator)
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        next(iterator)
        count += 1
    return count / (time.perf_counter() - start)


def train(model, batches, steps, wait=None):
    """Return the seconds of a training step, the first few left out."""
    iterator = iter(batches)
    for _ in range(3):  # compiles
        model.train_on_batch(*next(iterator))
    if wait is not None:
        wait.reset()
    start = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(*next(iterator))
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
