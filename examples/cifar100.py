"""Train RDN on noisy CIFAR-100 for nine kinds of noise and score it on the test images.

    python examples/cifar100.py [--data FOLDER] [--out FOLDER] [--steps N]

The noise has a mean and a deviation of 0.01, 0.255 and 0.5 (white is 1), as in
github.com/aptlin/noisy-cifar-100-rdn. That notebook reported the PSNR of training batches as the
PSNR of the test, with a peak of 255 for images in [0, 1]. Here it is the PSNR of the test images,
with a peak of 1. The images come from `keras.datasets`, or from --data, a folder with train.bin and
test.bin of cifar-100-binary.tar.gz. Writes cifar100.json, cifar100.md, plot.png and samples.png to
--out; what was trained before in as many steps is not trained again. A step takes 1 to 2 seconds on
one core of a CPU, and all nine runs have 17,595 of them: try --steps 15 first.
"""

import csv
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from keras_rdanet.config import load_config
from keras_rdanet.data.packed import MANIFEST, pack
from keras_rdanet.evaluation.report import write_results
from keras_rdanet.image.io import Picture, PictureHeader, write_picture
from keras_rdanet.image.sheets import sheet

CONFIG = Path(__file__).parents[1] / "configs" / "rdn" / "cifar100.yaml"
LEVELS = (0.01, 0.255, 0.5)
SIDE = 32
SEED = 0  # seed of the noise on the test images

# Test loss of the notebook, by mean and deviation.
PUBLISHED_L1 = dict(
    zip(
        product(LEVELS, LEVELS),
        (0.0079, 0.0613, 0.0907, 0.0086, 0.0634, 0.0873, 0.0095, 0.0669, 0.0919),
        strict=True,
    )
)
NOTES = """\
`noisy` and `restored` are the PSNR of input and output in dB with a peak of 1, means over the test
images. `clipped` is the PSNR after both were clipped to [0, 1], which alone raises it. `L1` is the
mean absolute error of the predicted noise over all test images, `notebook L1` what the notebook
published after five epochs."""


@dataclass(frozen=True)
class Arrays:
    """Images in memory, as a source to pack.

    Args:
        images: `(N, H, W, 3)` uint8.
    """

    images: np.ndarray
    paired = False

    def __len__(self):
        return len(self.images)

    def name(self, index):
        """Return the name of an image in messages."""
        return f"image {index}"

    def headers(self, index):
        """Return the header of an image."""
        height, width, channels = self.images[index].shape
        return (PictureHeader(height, width, channels, self.images.dtype, has_alpha=False),)

    def read(self, index):
        """Return `(target,)`."""
        return (self.images[index],)


def load_images(folder):
    """Return training and test images, `(N, 32, 32, 3)` uint8 each.

    Args:
        folder: Folder of the binary version, or `None` to let Keras download CIFAR-100.
    """
    if folder is not None:
        return tuple(read_binary(Path(folder, name)) for name in ("train.bin", "test.bin"))
    import keras

    try:
        (train, _), (test, _) = keras.datasets.cifar100.load_data()
    except Exception as error:  # Keras raises its bare class where there is no network.
        raise OSError(
            f"CIFAR-100 cannot be downloaded ({error}); give --data FOLDER with train.bin and "
            "test.bin of cifar-100-binary.tar.gz."
        ) from None
    return train, test


def read_binary(path):
    """Read a file of the binary version: two labels, then the red, green and blue plane."""
    data = np.fromfile(path, np.uint8)
    size = 2 + 3 * SIDE**2
    if not data.size or data.size % size:
        raise ValueError(f"{path} is not a file of CIFAR-100's binary version.")
    planes = data.reshape(-1, size)[:, 2:].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def train_one(mean, deviation, images, out, steps):
    """Train for one kind of noise; return the folder of the run."""
    from keras_rdanet.training.fit import train

    overrides = [
        f"data.train={images}",
        f"degradation.mean={255 * mean:.3f}",
        f"degradation.sigma={255 * deviation:.3f}",
        f"data.phases.0.steps={steps}",
        f"checkpoint_steps={steps // 5 if steps % 5 == 0 else steps}",
    ]
    folder = out / f"mean_{mean:g}_std_{deviation:g}_steps_{steps}"
    train(load_config(CONFIG, overrides), folder, resume=True)
    return folder


def score(model, images, mean, deviation):
    """Score a network on test images; return the row and its first images, noisy and restored."""
    random = np.random.default_rng(SEED)
    errors = {name: [] for name in ("noisy", "restored", "noisy clipped", "restored clipped")}
    absolute, shown = [], None
    for start in range(0, len(images), 500):
        clean = images[start : start + 500].astype(np.float32) / 255
        noisy = clean + random.normal(mean, deviation, clean.shape).astype(np.float32)
        restored = np.asarray(model.predict_on_batch(noisy))
        absolute += np.abs(restored - clean).mean((1, 2, 3)).tolist()
        for name, result in (("noisy", noisy), ("restored", restored)):
            for suffix, image in (("", result), (" clipped", np.clip(result, 0, 1))):
                errors[name + suffix] += np.square(image - clean).mean((1, 2, 3)).tolist()
        shown = shown or (noisy[0], restored[0])
    row = {"mean": mean, "std": deviation}
    row |= {name: round(float(-10 * np.log10(e).mean()), 2) for name, e in errors.items()}
    row |= {"L1": round(float(np.mean(absolute)), 4)}
    return row | {"notebook L1": PUBLISHED_L1[mean, deviation]}, shown


def plot(rows, runs, path):
    """Draw the scores beside those of the input, and the loss on the way."""
    from matplotlib.figure import Figure  # No window, whatever the backend.

    figure = Figure((14, 4), layout="constrained")
    bars, curves = figure.subplots(1, 2)
    places = np.arange(len(rows))
    for shift, name in ((-0.2, "noisy"), (0.2, "restored")):
        values = [row[name] for row in rows]
        drawn = bars.bar(places + shift, values, 0.4, label=name)
        bars.bar_label(drawn, fmt="%.1f", fontsize=7)
    bars.set_xticks(places, [f"{row['mean']:g}\n{row['std']:g}" for row in rows])
    bars.set(xlabel="mean and deviation of the noise", ylabel="PSNR on the test images in dB")
    bars.legend()
    for row, run in zip(rows, runs, strict=True):
        with open(run / "history.csv", encoding="utf-8") as file:
            history = list(csv.DictReader(file))
        steps, losses = ([float(line[key]) for line in history] for key in ("step", "loss"))
        curves.plot(steps, losses, ".-", label=f"{row['mean']:g}, {row['std']:g}")
    curves.set(xlabel="step", ylabel="training L1", yscale="log")
    curves.legend(title="mean, deviation", fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", default="runs/rdn/cifar100", type=click.Path(path_type=Path))
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=1955,
    show_default=True,
    help="Number of steps of each run.",
)
def main(data, out, steps):
    """Run the experiment."""
    from keras_rdanet.models import registry

    train_images, test_images = load_images(data)
    packed = out / "train"
    if not (packed / MANIFEST).exists():
        pack(Arrays(train_images), packed, tile_size=SIDE, overlap=0)
    rows, runs, shown = [], [], []
    grid = list(product(LEVELS, LEVELS))
    for mean, deviation in tqdm(grid, "Experiments", unit="run"):
        runs.append(train_one(mean, deviation, packed, out, steps))
        model = registry.load(runs[-1] / "weights.safetensors")
        row, (noisy, restored) = score(model, test_images, mean, deviation)
        rows.append(row)
        titles = (f"noisy {mean:g}, {deviation:g}", "restored", "target")
        shown.append(list(zip(titles, (noisy, restored, test_images[0]), strict=True)))
    write_results(
        "cifar100",
        rows,
        title="RDN on noisy CIFAR-100",
        command=f"python examples/cifar100.py --steps {steps}",
        notes=NOTES,
        settings={"steps": steps, "test_images": len(test_images)},
        folder=out,
    )
    plot(rows, runs, out / "plot.png")
    write_picture(out / "samples.png", Picture(sheet(shown)))
    click.echo((out / "cifar100.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"cifar100: {' '.join(str(error).split())}") from None
