"""Check the evaluation protocols: scores of degraded images beside those of the papers.

    python benchmarks/protocols.py --data FOLDER_WITH_THE_SETS

No network is involved: where degraded images score what a paper states for
them, images are loaded, degraded and compared as they were there. Writes
results/protocols.json and .md.
"""

from pathlib import Path

import click
import numpy as np

from keras_rdanet.data.sources import folder
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.tasks import JPEG, BayerMosaic, SuperResolution

RESULTS = Path(__file__).parent / "results"
# Set, task, channels, and the PSNR in dB that the paper states for its degraded images.
PANET, EDSR = "Mei 2020 (PANet)", "Lim 2017 (EDSR)"
PUBLISHED = [
    ("classic5", JPEG(10), 1, 27.82, PANET),
    ("classic5", JPEG(20), 1, 30.12, PANET),
    ("classic5", JPEG(30), 1, 31.48, PANET),
    ("classic5", JPEG(40), 1, 32.43, PANET),
    ("cbsd68", BayerMosaic(), 3, 8.43, PANET),
    ("set5", SuperResolution(2), 3, 33.66, EDSR),
    ("set5", SuperResolution(3), 3, 30.39, EDSR),
    ("set5", SuperResolution(4), 3, 28.42, EDSR),
]
NOTES = """\
Means over the images; the papers give two decimals. JPEG and mosaics score what they state. The
bicubic rows lie within 0.02 dB of the papers, whose code may round at other places. SSIM and
PSNR-B are not in the papers."""


def measure(source, task, channels, published, paper):
    """Score the degraded images of a source."""
    protocol = task.protocol()
    scores = [
        protocol.scoring(sample.enlarged, sample.target)
        for sample in protocol.samples(source, channels)
    ]
    seams = [score.psnr_b for score in scores if score.psnr_b is not None]
    description = protocol.describe(channels)
    return {
        "protocol": protocol.name,
        "level": description.get("quality") or description.get("scale"),
        "PSNR (dB)": round(float(np.mean([score.psnr for score in scores])), 4),
        "published (dB)": published,
        "SSIM": round(float(np.mean([score.ssim for score in scores])), 5),
        "PSNR-B (dB)": round(float(np.mean(seams)), 4) if seams else None,
        "images": len(scores),
        "paper": paper,
    }


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds the folders classic5, cbsd68 and set5.",
)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where to write.")
def main(data, results):
    """Check the evaluation protocols: scores of degraded images beside those of the papers."""
    rows = [
        {"data": name, **measure(folder(data / name, recursive=False), *what)}
        for name, *what in PUBLISHED
    ]
    write_results(
        "protocols",
        rows,
        title="Degraded images by our protocols and in papers",
        command="python benchmarks/protocols.py --data FOLDER_WITH_THE_SETS",
        notes=NOTES,
        folder=results,
    )


if __name__ == "__main__":
    main()
