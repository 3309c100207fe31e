"""Compare the speed of exported files with the original network in PyTorch eager.

    python benchmarks/export_speed.py --calibration FOLDER [--torch-python PYTHON]

The network is the paper's, 64 channels wide. Its weights are those of the tiny one, widened:
they compute what the tiny network computes, so that quantizers see real ranges and what each
file loses can be told. PyTorch runs in its own process, in turns with the files. Writes
results/export_speed.json and .md; exits 1 below the targets. These were set on a CPU whose
float32 matrix products run at twice the speed of PyTorch's convolutions. The speed of matrix
products is measured too, since no float32 file can exceed it.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from speed import Torch, turns

NARROW, WIDE = "tsp_rdanet_tiny_gray", "tsp_rdanet_gray"
RESULTS = Path(__file__).parent / "results"
FILES = (
    ("saved_model", "fp32"),
    ("tflite", "fp32"),
    ("tflite", "fp16"),
    ("tflite", "dynamic"),
    ("tflite", "int8"),
    ("tflite", "int8_uint8"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
)
# Least speed of one file of the format, as the ratio to PyTorch eager.
TARGETS = {"fp32": 2.0, "int8": 7.0}
NOTES = """\
Seconds are the least of {rounds} rounds in which all take turns on one {size}x{size} picture, gray,
{threads} threads, wall clock; a ratio above 1 says that a file is faster than the network of
`torch_networks` in PyTorch {torch} eager, channels first, as the public code runs. GFLOP/s are the
operations of the network over the seconds: PyTorch gets {eager}, and a product of float32 matrices
of {side}x{side}, which no float32 file can outrun by much, {peak} here. The PSNR loss is relative
to Keras on that picture, the middle of one of the calibration pictures, with noise of sigma 25: the
wide network computes what the tiny one computes."""
PRODUCT = 3072


def peak():
    """GFLOP/s of a product of large float32 matrices, an upper limit of the processor."""
    import tensorflow as tf

    matrix = tf.random.normal((PRODUCT, PRODUCT))
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    (seconds,) = turns(lambda: (timed(lambda: multiply().numpy())(),), 5)
    return 2e-9 * PRODUCT**3 / seconds


def widened():
    """The wide network that computes what the narrow one does, and its arguments."""
    from keras_rdanet.models import registry
    from keras_rdanet.training.widening import widen
    from keras_rdanet.weights.catalogue import resolve

    overrides = resolve(NARROW).overrides
    model = registry.build(WIDE, **overrides)
    widen(registry.load(NARROW), model, seed=0)
    return model, {**registry.network(WIDE).PRESETS[WIDE], **overrides}


@click.command()
@click.option("--calibration", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--torch-python", default=sys.executable, help="A Python that has PyTorch.")
@click.option("--size", default=256, show_default=True)
@click.option("--rounds", default=10, show_default=True)
@click.option("--threads", default=4, show_default=True)
def main(calibration, torch_python, size, rounds, threads):
    """Time every file of the 64-wide network beside PyTorch eager."""
    # Read when TensorFlow starts.
    os.environ.update(TF_NUM_INTRAOP_THREADS=str(threads), TF_NUM_INTEROP_THREADS="1")
    from keras_rdanet.evaluation.report import write_results
    from keras_rdanet.export.exporter import make
    from keras_rdanet.export.job import job_of
    from keras_rdanet.inference.open import open_model
    from keras_rdanet.profiling import multiply_accumulates
    from keras_rdanet.runtimes.metadata import describe
    from keras_rdanet.tasks.scoring import score

    model, arguments = widened()
    job = job_of(
        model,
        describe(model),
        calibration=calibration,
        test=calibration,
        size=size,
        pictures=1,
    )
    sample = job.reference.samples[0]
    picture = sample.degraded[np.newaxis]
    torch = Torch(torch_python, threads, "wall")
    version = torch.versions()["torch"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        np.save(work / "picture.npy", picture)
        torch.build(
            path="tsp_rdanet:TSPRDANet", arguments=arguments, weights=str(work / "weights.npz")
        )
        torch.load(images=str(work / "picture.npy"))
        functions = {"Keras": job.reference.function}
        for format, variant in FILES:
            click.echo(f"making {format} {variant}")
            functions[f"{format} {variant}"] = open_model(make(job, format, variant, work))
        outputs = {name: function(picture)[0] for name, function in functions.items()}
        everything = [torch.restore, *(timed(one, picture) for one in functions.values())]
        eager, *seconds = turns(lambda: [one() for one in everything], rounds)
        fastest = peak()
    operations = 2e-9 * multiply_accumulates(model, size, size)
    psnr = {name: score(output, sample.target).psnr for name, output in outputs.items()}
    rows = [
        {
            "file": name,
            "seconds": round(least, 3),
            "PyTorch eager, s": round(eager, 3),
            "GFLOP/s": round(operations / least),
            "ratio": round(eager / least, 2),
            "PSNR loss, dB": round(psnr["Keras"] - psnr[name], 3),
        }
        for name, least in zip(functions, seconds, strict=True)
    ]
    write_results(
        "export_speed",
        rows,
        title="Speed of exported files beside PyTorch eager",
        command="python benchmarks/export_speed.py --calibration FOLDER --torch-python PYTHON",
        notes=NOTES.format(
            rounds=rounds,
            size=size,
            threads=threads,
            torch=version,
            side=PRODUCT,
            peak=round(fastest),
            eager=round(operations / eager),
        ),
        settings={
            "threads": threads,
            "rounds": rounds,
            "size": size,
            "torch": version,
            "peak_gflops": fastest,
        },
        folder=RESULTS,
    )
    for row in rows:
        click.echo(" ".join(f"{key}: {value}," for key, value in row.items()))
    best = {
        variant: max(row["ratio"] for row in rows if row["file"].endswith(variant))
        for variant in TARGETS
    }
    if any(best[variant] < target for variant, target in TARGETS.items()):
        sys.exit(f"below {TARGETS}: {best}")


def timed(function, *arguments):
    """A function that gives the seconds of a call."""

    def seconds():
        start = time.perf_counter()
        function(*arguments)
        return time.perf_counter() - start

    return seconds


if __name__ == "__main__":
    main()
