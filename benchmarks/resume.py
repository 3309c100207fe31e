"""Measure the difference between a killed and resumed run and an uninterrupted one.

    python benchmarks/resume.py

Trains 40 steps in one go, and 40 steps with `kill -9` after the checkpoint of step 20 and
`--resume`, without and with `xla`. Writes results/resume.json and .md; exits 1 above the limits.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np
from safetensors.numpy import load_file

from keras_rdanet.evaluation.report import write_results

RESULTS = Path(__file__).parent / "results"
# TensorFlow's AddN adds three or more gradients in the order in which their buffers become free,
# which threads decide; compiled runs have no such freedom.
LIMITS = {False: 1e-4, True: 0.0}
CONFIG = {
    "model": {"preset": "tsp_rdanet_tiny_gray"},
    "data": {"phases": [{"steps": 40, "patch_size": 32, "batch_size": 4}]},
    "degradation": {"name": "gaussian_noise", "sigma": [0, 50]},
    "mixup": {"alpha": 0.6},
    "optimizer": {"ema": 0.99, "clip_norm": 1.0},
    "schedule": {"name": "cosine", "peak": 1e-3, "warmup": 5},
    "checkpoint_steps": 10,
}


def train(config, output, *options):
    """Start the command."""
    command = [sys.executable, "-m", "keras_rdanet", "train", config, "-o", output, *options]
    return subprocess.Popen([str(part) for part in command])


def difference(one, other):
    """Largest absolute difference between the tensors of two files of the same names."""
    one, other = load_file(one), load_file(other)
    if one.keys() != other.keys():
        raise ValueError("the two checkpoints hold other tensors")
    return max(float(np.abs(one[name].astype(float) - other[name]).max()) for name in one)


def measure(folder, xla):
    """Train without and with an interruption; return the difference of their files."""
    config = folder / f"xla_{xla}.yaml"
    data = {**CONFIG["data"], "train": str(folder / "images")}
    config.write_text(json.dumps({**CONFIG, "data": data, "xla": xla}), encoding="utf-8")
    whole, killed = folder / f"whole_{xla}", folder / f"killed_{xla}"
    if train(config, whole).wait():
        sys.exit("the uninterrupted run failed")
    history = killed / "history.csv"
    with train(config, killed) as process:
        while not history.exists() or len(history.read_text().splitlines()) < 3:
            if process.poll() is not None:
                sys.exit("the run to be killed ended by itself")
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    rows = len(history.read_text().splitlines()) - 1
    if train(config, killed, "--resume").wait():
        sys.exit("the resumed run failed")
    return [
        {
            "xla": xla,
            "file": file,
            "killed after step": 10 * rows,
            "largest difference": difference(whole / file, killed / file),
            "limit": LIMITS[xla],
        }
        for file in ("checkpoint.safetensors", "weights.safetensors")
    ]


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS)
def main(output):
    """Measure the difference between a killed and resumed run and an uninterrupted one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        random = np.random.default_rng(0)
        for i in range(4):
            image = cv2.resize(random.integers(0, 256, (9, 12), np.uint8), (160, 120))
            cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        results = [row for xla in LIMITS for row in measure(folder, xla)]
    write_results(
        "resume",
        results,
        title="A killed and resumed run against an uninterrupted one",
        command="python benchmarks/resume.py",
        notes="40 steps of `tsp_rdanet_tiny_gray`; the checkpoint holds weights, optimizer and "
        "averages. Without `xla` two equal runs may differ as much: TensorFlow adds three or more "
        "gradients in the order in which their buffers become free.",
        folder=output,
    )
    click.echo(f"largest difference {max(row['largest difference'] for row in results):g}")
    sys.exit(any(row["largest difference"] > row["limit"] for row in results))


if __name__ == "__main__":
    main()
