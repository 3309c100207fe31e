"""Score weights for photos on all that photos suffer from, and on clean ones.

    python benchmarks/photos.py --data FOLDER_WITH_THE_SETS MODEL [MODEL ...]

FOLDER_WITH_THE_SETS holds cc15 (folders `noisy` and `clean`), cbsd68 and kodak24. Other pairs,
such as those that were kept out of training, are given with --pairs. Writes results/photos.json
and .md.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from keras_rdanet.data import sources
from keras_rdanet.evaluation.evaluate import evaluate, open_identified
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.image.resize import upsample
from keras_rdanet.tasks import JPEG, GaussianNoise
from keras_rdanet.tasks.base import Pairs, Task
from keras_rdanet.tasks.gaussian_noise import protocol_noise

RESULTS = Path(__file__).parent / "results"
NOTES = """\
PSNR in dB, means over the images, computed in float32 and scored in 8 bits. "gain" is the
difference to the degraded picture, "worst" the smallest gain of a picture. The clean row compares
a picture without noise with what the network makes of it. Coarse noise is sigma 25 drawn at half
the size and enlarged by 2 with bicubic interpolation."""


@dataclass(frozen=True)
class EnlargedNoise(Task):
    """Noise of a picture that was taken at half the size: drawn there and enlarged."""

    sigma: float

    title = "enlarged noise"

    def __call__(self, target, seed):
        """Refuse to train: this is for scoring alone."""
        raise TypeError("Enlarged noise is scored, not trained on; see `grain` of GaussianNoise.")

    @property
    def level(self):
        """Sigma before enlarging."""
        return {"sigma": self.sigma}

    def degrade(self, clean, index=0):
        """Return `(H, W, C)` uint8 with the noise, rounded to 8 bits, float32 in `[0, 1]`."""
        del index
        height, width, channels = clean.shape
        half = protocol_noise(((height + 1) // 2, (width + 1) // 2, channels), self.sigma)
        noise = upsample(half, 2)[:height, :width]
        return to_float(to_samples(to_float(clean) + noise, np.uint8))

    def describe(self):
        """Say how the noise is made."""
        return {"degraded": "drawn at half the size, enlarged by bicubic interpolation, rounded"}


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds the folders cc15, cbsd68 and kodak24.",
)
@click.option(
    "--pairs",
    nargs=2,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folders of other noisy images and their clean partners.",
)
@click.option("--every", default=1, show_default=True, help="Take every Nth image of a set.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where to write.")
def main(models, data, pairs, every, results):
    """Score weights for photos on all that photos suffer from."""
    measurements = [("cc15", Pairs(), sources.pairs(data / "cc15/noisy", data / "cc15/clean"))]
    if pairs:
        measurements.append(("other pairs", Pairs(), sources.pairs(*pairs)))
    cbsd68, kodak24 = (
        sources.ImageSource(sources.folder(data / name).paths[::every])
        for name in ("cbsd68", "kodak24")
    )
    measurements += [(f"cbsd68, sigma {s}", GaussianNoise(s), cbsd68) for s in (15, 25, 50)]
    measurements += [(f"kodak24, JPEG {q}", JPEG(q), kodak24) for q in (50, 75, 90)]
    measurements += [
        ("kodak24, clean", GaussianNoise(0), kodak24),
        ("kodak24, coarse noise", EnlargedNoise(25), kodak24),
    ]
    rows = []
    for model in models:
        function, details = open_identified(model, channels=3)
        for name, protocol, source in measurements:
            result = evaluate(function, protocol, source, details=details, progress=True)
            gains = [image.psnr - image.psnr_degraded for image in result.images]
            is_clean = name.endswith("clean")
            rows.append(
                {
                    "model": function.name,
                    "pictures": name,
                    "PSNR (dB)": round(result.mean("psnr"), 3),
                    "gain (dB)": None if is_clean else round(float(np.mean(gains)), 3),
                    "worst (dB)": None if is_clean else round(min(gains), 3),
                    "images": len(result.images),
                    "sha256": details["sha256"],
                }
            )
            shown = {key: value for key, value in rows[-1].items() if key != "sha256"}
            click.echo(", ".join(f"{key} {value}" for key, value in shown.items()))
    write_results(
        "photos",
        rows,
        title="Weights for photos",
        command="python benchmarks/photos.py --data FOLDER_WITH_THE_SETS MODEL...",
        notes=NOTES,
        settings={"every": every},
        table=[{k: v for k, v in row.items() if k != "sha256"} for row in rows],
        folder=results,
    )


if __name__ == "__main__":
    main()
