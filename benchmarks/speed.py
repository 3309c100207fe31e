"""Compare a training step and a restore call with the same network in PyTorch eager.

    python benchmarks/speed.py [--torch-python PYTHON] [--clock cpu --threads 1] [--only NAME]...

The networks of `torch_networks/` run in a Python that has PyTorch, in turns with ours, on as
many threads. First both get the same weights and must agree. Writes results/speed.json and
.md; exits 1 where ours is slower.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

RESULTS = Path(__file__).parent / "results"
WORKER = Path(__file__).parent / "torch_networks" / "worker.py"
TOLERANCE = 1e-4  # of the range of the output
CLOCKS = {"wall": "perf_counter", "cpu": "process_time"}
NOTES = """\
Seconds are the least of all rounds, in which the two took turns; a ratio above 1 says that ours is
faster. `train` is one `train_on_batch` (L1 on every stage, Adam), `restore` one call of the image
function, both in float32 and in graph mode as by default; PyTorch runs the same mathematics
module by module with `torch.nn`. `difference` is the largest one between the two outputs with the
same weights, as a part of their range; `loss` that of the losses after three training steps,
relative. Sizes are batch x height x width."""


class Case(NamedTuple):
    """A network to time: constructor arguments that replace the preset's, and sizes."""

    preset: str
    torch: str
    train: tuple[int, int, int]
    restore: tuple[int, int, int]
    overrides: dict = {}


# Sizes small enough that a busy machine lets some rounds through undisturbed.
CASES = (
    Case("tsp_rdanet_tiny_rgb", "tsp_rdanet:TSPRDANet", (2, 48, 48), (1, 96, 96)),
    Case("tsp_rdanet_rgb", "tsp_rdanet:TSPRDANet", (1, 32, 32), (1, 48, 48)),
    Case("rdn_cifar", "rdn:RDN", (8, 32, 32), (1, 128, 128)),
    Case("rdn_rgb", "rdn:RDN", (1, 48, 48), (1, 64, 64), {"num_blocks": 2}),
    Case("rdn_rgb_x4", "rdn:RDN", (2, 24, 24), (1, 48, 48), {"num_blocks": 1}),
    Case("mprnet_derain", "mprnet:MPRNet", (1, 48, 48), (1, 64, 64)),
    Case("mprnet_denoise", "mprnet:MPRNet", (1, 32, 32), (1, 48, 48), {"num_blocks": 2}),
    Case(
        "danet_rgb",
        "danet:DANet",
        (2, 48, 48),
        (1, 64, 64),
        {"encoder_blocks": 1, "decoder_blocks": 1},
    ),
    Case("panet_rgb", "panet:PANet", (1, 48, 48), (1, 64, 64), {"num_blocks": 4}),
    Case("panet_gray", "panet:PANet", (2, 24, 24), (1, 48, 48), {"num_blocks": 16}),
    Case("pa_edsr_x2", "panet:PAEDSR", (1, 40, 40), (1, 32, 32), {"num_blocks": 2}),
)


class Torch:
    """The worker in the other Python; attributes are its functions."""

    def __init__(self, python, threads, clock):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, WORKER, str(threads), CLOCKS[clock]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __getattr__(self, name):
        def call(**arguments):
            self.process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("PyTorch failed, see above.")
            return json.loads(line)

        return call


class Ours:
    """One of our networks with the functions of the worker."""

    def __init__(self, case, clock):
        import keras

        from keras_rdanet.models import registry

        keras.backend.clear_session()
        self.arguments = {**registry.network(case.preset).PRESETS[case.preset], **case.overrides}
        self.model = registry.build(case.preset, **case.overrides)
        self.arrays = {}
        self.clock = getattr(time, CLOCKS[clock])

    def load_weights(self, path):
        """Take the weights of the PyTorch network."""
        import keras

        from keras_rdanet.weights.from_torch import from_torch

        from_torch(self.model, path)
        stages = self.model.stages
        self.model.compile(
            keras.optimizers.Adam(1e-4, epsilon=1e-8),
            dict.fromkeys(stages, "mae") if stages else "mae",
            jit_compile=False,
        )
        self.function = self.model.image_function()

    def restore(self):
        """Seconds of one call."""
        start = self.clock()
        self.output = self.function(self.arrays["images"])
        return self.clock() - start

    def step(self):
        """Seconds and loss of one training step."""
        target = self.arrays["target"]
        stages = self.model.stages
        start = self.clock()
        loss = self.model.train_on_batch(
            self.arrays["degraded"], dict.fromkeys(stages, target) if stages else target
        )
        return self.clock() - start, float(np.ravel(loss)[0])


def run(case, torch, rounds, clock, folder):
    """The row of one network."""
    ours = Ours(case, clock)
    weights, output = folder / "weights.npz", folder / "output.npy"
    torch.build(path=case.torch, arguments=ours.arguments, weights=str(weights))
    ours.load_weights(weights)
    random = np.random.default_rng(0)
    channels, scale = ours.model.channels, ours.model.scale
    batch, height, width = case.train
    ours.arrays = {
        "images": random.random((*case.restore, channels), np.float32),
        "degraded": random.random((*case.train, channels), np.float32),
        "target": random.random((batch, scale * height, scale * width, channels), np.float32),
    }
    for name, array in ours.arrays.items():
        np.save(folder / f"{name}.npy", array)
    torch.load(**{name: str(folder / f"{name}.npy") for name in ours.arrays})
    seconds = {}
    seconds["restore"] = turns(lambda: (ours.restore(), torch.restore()), rounds)
    torch.output(path=str(output))
    theirs = np.load(output)
    losses = [[side.step()[1] for side in (ours, torch)] for _ in range(3)][-1]
    seconds["train"] = turns(lambda: (ours.step()[0], torch.step()[0]), rounds)
    row = {
        "network": case.preset,
        "overrides": " ".join(f"{key}={value}" for key, value in case.overrides.items()),
    }
    for kind, size in (("train", case.train), ("restore", case.restore)):
        mine, other = seconds[kind]
        row[f"{kind} size"] = "x".join(map(str, size))
        row[f"{kind} ours, s"] = round(mine, 3)
        row[f"{kind} PyTorch, s"] = round(other, 3)
        row[f"{kind} ratio"] = round(other / mine, 2)
    row["difference"] = float(f"{np.abs(theirs - ours.output).max() / np.ptp(theirs):.1e}")
    row["loss"] = float(f"{abs(losses[0] / losses[1] - 1):.1e}")
    return row


def turns(both, rounds):
    """The least seconds of each of the two; the first turn, which traces, does not count."""
    both()
    return np.min([both() for _ in range(rounds)], axis=0).tolist()


@click.command()
@click.option("--torch-python", default=sys.executable, help="A Python that has PyTorch.")
@click.option("--only", multiple=True, help="Only these presets, and write nothing.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    show_default=True,
    help="cpu: seconds of the processor, for machines busy with other work; threads that wait "
    "for each other count there, so take one.",
)
def main(torch_python, only, rounds, threads, clock):
    """Compare the speed of our networks with PyTorch eager."""
    # Read when TensorFlow starts.
    os.environ.update(TF_NUM_INTRAOP_THREADS=str(threads), TF_NUM_INTEROP_THREADS="1")
    from keras_rdanet.evaluation.report import write_results

    torch = Torch(torch_python, threads, clock)
    version = torch.versions()["torch"]
    rows = []
    for case in CASES:
        if only and case.preset not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(run(case, torch, rounds, clock, Path(folder)))
        click.echo(" ".join(f"{key}: {value}," for key, value in rows[-1].items()))
    if not only:
        write_results(
            "speed",
            rows,
            title="Speed beside PyTorch eager",
            command=f"python benchmarks/speed.py --torch-python PYTHON --clock {clock} "
            f"--threads {threads}",
            notes=f"{NOTES} Threads: {threads}; clock: {clock}; PyTorch {version}.",
            settings={"threads": threads, "rounds": rounds, "clock": clock, "torch": version},
            folder=RESULTS,
        )
    differing = [row["network"] for row in rows if row["difference"] > TOLERANCE]
    slower = [row["network"] for row in rows if min(row["train ratio"], row["restore ratio"]) < 1]
    if differing or slower:
        sys.exit(f"not equal: {differing or 'none'}; slower than PyTorch: {slower or 'none'}")


if __name__ == "__main__":
    main()
