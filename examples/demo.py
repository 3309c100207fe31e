"""Restore a bundled photo with noise, offline, and print the PSNR before and after."""

from pathlib import Path

import click
import numpy as np

from keras_rdanet import Restorer
from keras_rdanet.cli.startup import load_tensorflow
from keras_rdanet.image.io import (
    Metadata,
    Picture,
    read_picture,
    to_float,
    to_samples,
    write_picture,
)
from keras_rdanet.image.sheets import side_by_side
from keras_rdanet.metrics import psnr
from keras_rdanet.tasks.gaussian_noise import protocol_noise

PHOTO = Path(__file__).with_name("astronaut.png")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--sigma", default=25.0, show_default=True, help="Noise, in gray levels of 0-255.")
def main(output, sigma):
    """Write noisy.png, restored.png and comparison.png, and print PSNR before and after."""
    output.mkdir(parents=True, exist_ok=True)
    clean = read_picture(PHOTO).samples
    # Rounded to 8 bits, as a noisy photo would be.
    noisy = to_samples(to_float(clean) + protocol_noise(clean.shape, sigma), np.uint8)
    load_tensorflow()
    restored = Restorer().picture(Picture(noisy, None, Metadata())).samples

    before, after = psnr(noisy, clean), psnr(restored, clean)
    comparison = side_by_side(
        [
            (f"noisy, {before:.2f} dB", noisy),
            (f"restored, {after:.2f} dB", restored),
            ("clean", clean),
        ]
    )
    pictures = {"noisy": noisy, "restored": restored, "comparison": comparison}
    for name, samples in pictures.items():
        write_picture(output / f"{name}.png", Picture(samples, None, Metadata()))
    click.echo(f"PSNR before {before:.2f} dB, after {after:.2f} dB")
    click.echo(f"See {output / 'comparison.png'}")


if __name__ == "__main__":
    main()
