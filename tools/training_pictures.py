"""Prepare the pictures that weights for photos are trained on.

    python tools/training_pictures.py --photos FOLDER --pairs NOISY CLEAN OUT

OUT receives `photos` (links to the photos, and a smaller, sharper copy of each), `drawn` (flat
colours, text and graphics), the pairs in `pairs/noisy` and `pairs/clean`, and every ninth pair in
`held_out/noisy` and `held_out/clean` instead. configs/tsp_rdanet/tiny_photo.yaml trains on them.
"""

import random
from pathlib import Path

import click
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_rdanet.data.sources import folder, pairs

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# Factors of the smaller copies, in turn: they are sharper, and free of traces of JPEG.
FACTORS = (0.75, 0.6, 0.5)
FLAT, DRAWN, SIDE = 72, 72, 256
TEXT = "image noise restore colour 0123456789 Keras photo light shadow BUILD the quick brown fox"


def scale_down(source: Path, target: Path) -> None:
    """Link every photo into `target`, and write a smaller copy of it beside the link."""
    target.mkdir(parents=True)
    for index, path in enumerate(folder(source).paths):
        (target / path.name).symlink_to(path.resolve())
        photo = Image.open(path).convert("RGB")
        factor = FACTORS[index % len(FACTORS)]
        size = round(photo.width * factor), round(photo.height * factor)
        photo.resize(size, Image.Resampling.LANCZOS).save(target / f"{path.stem}_small.png")


def draw(target: Path, seed: int = 5) -> None:
    """Write pictures of one saturated colour each, and pictures of shapes and text."""
    target.mkdir(parents=True)
    choose = random.Random(seed)
    fonts = sorted(Path(matplotlib.get_data_path(), "fonts/ttf").glob("DejaVu*.ttf"))
    for index in range(FLAT):
        color = _color(choose, saturated=index % 3 > 0)
        Image.new("RGB", (SIDE, SIDE), color).save(target / f"flat_{index:02}.png")
    for index in range(DRAWN):
        picture = Image.new("RGB", (SIDE, SIDE), _color(choose))
        _shapes(ImageDraw.Draw(picture), choose)
        if index % 4:
            _text(ImageDraw.Draw(picture), choose, fonts)
        if index % 5 == 0:
            picture = _faded(picture, choose)
        picture.save(target / f"drawn_{index:02}.png")


def split(noisy: Path, clean: Path, out: Path) -> None:
    """Link pairs into `pairs` and every ninth into `held_out`."""
    found = pairs(noisy, clean)
    for index, partners in enumerate(zip(found.degraded, found.target, strict=True)):
        place = out / ("pairs" if index % 9 else "held_out")
        for side, path in zip(("noisy", "clean"), partners, strict=True):
            (place / side).mkdir(parents=True, exist_ok=True)
            (place / side / path.name).symlink_to(path.resolve())


def _color(choose, saturated=False):
    levels = [choose.choice([0, 255, choose.randrange(256)]) for _ in range(3)]
    return tuple(levels if saturated else (choose.randrange(256) for _ in range(3)))


def _shapes(canvas, choose):
    for _ in range(choose.randrange(12)):
        left, top = choose.randrange(SIDE), choose.randrange(SIDE)
        width, height = choose.randrange(8, 150), choose.randrange(8, 150)
        kind = choose.choice(["rectangle", "ellipse", "line"])
        if kind == "line":
            ends = (left, top, left + width - 60, top + height - 60)
            canvas.line(ends, fill=_color(choose), width=choose.randrange(1, 6))
        else:
            fill = _color(choose, saturated=choose.random() < 0.4)
            getattr(canvas, kind)((left, top, left + width, top + height), fill=fill)


def _text(canvas, choose, fonts):
    size = choose.randrange(8, 28)
    font = ImageFont.truetype(str(choose.choice(fonts)), size)
    color = _color(choose, saturated=True)
    for top in range(choose.randrange(-4, 12), SIDE, round(1.3 * size)):
        line = " ".join(choose.choices(TEXT.split(), k=12))
        canvas.text((choose.randrange(-6, 10), top), line, font=font, fill=color)


def _faded(picture, choose):
    pixels = np.asarray(picture, np.float32)
    share = np.linspace(0, choose.random(), SIDE, dtype=np.float32)[:, None, None]
    return Image.fromarray(np.uint8(pixels * (1 - share) + 255 * share * choose.random()))


@click.command()
@click.option("--photos", type=FOLDER, required=True, help="Folder of clean photos.")
@click.option("--pairs", "noisy_clean", nargs=2, type=FOLDER, help="Folders of real pairs.")
@click.argument("out", type=click.Path(path_type=Path))
def main(photos, noisy_clean, out):
    """Prepare the pictures that weights for photos are trained on, in the new folder OUT."""
    scale_down(photos, out / "photos")
    draw(out / "drawn")
    if noisy_clean:
        split(*noisy_clean, out)


if __name__ == "__main__":
    main()
