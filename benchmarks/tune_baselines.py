"""Fit the settings of the classical denoisers on training images, never on a test set.

    python benchmarks/tune_baselines.py --data FOLDER_OF_TRAINING_IMAGES

Prints the mean PSNR of every setting; the best ones, as rules in sigma, are
the constants of `keras_rdanet.evaluation.baselines`.
"""

from pathlib import Path

import click
import numpy as np

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation import baselines
from keras_rdanet.evaluation.evaluate import evaluate
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.tasks import GaussianNoise

RESULTS = Path(__file__).parent / "results"
SIGMAS = (15, 25, 50)
STRENGTHS = {
    "non_local_means": (0.5, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9, 1.0),
    "total_variation": (0.6, 0.7, 0.8, 0.9, 1.0),
}
WAVELETS = ("db1", "db2", "sym4", "bior4.4")


def candidates(sigma, channels):
    """Yield (setting, value, baseline) for all settings that are compared."""
    for factor in STRENGTHS["non_local_means"]:
        yield "h / sigma", factor, baselines.non_local_means(sigma, channels, h=factor * sigma)
    for factor in STRENGTHS["total_variation"]:
        weight = factor * sigma / 255
        yield "weight * 255 / sigma", factor, baselines.total_variation(sigma, channels, weight)
    for wavelet in WAVELETS:
        yield "wavelet", wavelet, baselines.wavelet(sigma, channels, wavelet)


@click.command()
@click.option("--data", required=True, help="Folder of clean training images.")
@click.option("--limit", default=12, show_default=True, help="Number of images taken from it.")
def main(data, limit):
    """Fit the settings of the classical denoisers."""
    source, rows = folder(data), {}
    for channels in (1, 3):
        for sigma in SIGMAS:
            for setting, value, baseline in candidates(sigma, channels):
                result = evaluate(
                    baseline.function, GaussianNoise(sigma), source, limit=limit, progress=True
                )
                row = rows.setdefault(
                    (channels, baseline.function.name, value),
                    {
                        "method": baseline.function.name,
                        "images": "gray" if channels == 1 else "RGB",
                        "setting": setting,
                        "value": value,
                    },
                )
                row[f"sigma {sigma}"] = round(result.mean("psnr"), 3)
    for row in rows.values():
        row["mean"] = round(float(np.mean([row[f"sigma {sigma}"] for sigma in SIGMAS])), 3)
    write_results(
        "baseline_settings",
        list(rows.values()),
        title="Settings of the classical denoisers: PSNR in dB on training images",
        command="python benchmarks/tune_baselines.py --data TRAINING_IMAGES",
        notes=f"The first {limit} images of the folder, protocol of `keras-rdanet evaluate`.",
        folder=RESULTS,
    )


if __name__ == "__main__":
    main()
