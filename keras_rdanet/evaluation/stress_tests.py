"""Stress tests: pictures on which restoration networks are known to fail, and what must hold."""

from dataclasses import dataclass

import numpy as np

from keras_rdanet.evaluation.evaluate import restore
from keras_rdanet.image.color import luma
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.metrics import psnr
from keras_rdanet.tasks import registry

# A flat picture must come back with its mean, in gray levels.
MAX_SHIFT = 2.0
# How far a value may leave [0, 1] before it is clipped for writing.
MAX_OVERSHOOT = 0.5
FLAT_COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "middle gray": (128, 128, 128),
    "flat dark colour": (33, 25, 23),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
}


@dataclass(frozen=True)
class Case:
    """One picture of the suite.

    Args:
        name: Name of the case in reports.
        image: `(H, W, C)` float32 in `[0, 1]`.
        flat: Whether it is one colour, whose mean must stay.
    """

    name: str
    image: np.ndarray
    flat: bool = False


@dataclass(frozen=True)
class Finding:
    """The result of a function on one case.

    Args:
        case: Name of the case.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        finite: Whether all values of the result are finite.
        low: Least value before clipping, where white is 1.
        high: Greatest value before clipping, where white is 1.
        shift: Change of the mean of the worst channel of a flat picture, in gray levels after
            clipping.
        psnr: PSNR against the input in dB, after clipping; `None` if a value is not finite. It is
            a description and not a limit: except for "salt and pepper", the pictures have no noise
            to be removed.
        fault: Reason of the failure; empty if the case passed.
    """

    case: str
    height: int
    width: int
    finite: bool
    low: float
    high: float
    shift: float | None
    psnr: float | None
    fault: str

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.fault


def run(function: ImageFunction, clean: np.ndarray | None = None) -> list[Finding]:
    """Run `function` over the pictures, and over those of the task that it is for.

    Args:
        function: Function that restores images, a network or an exported file.
        clean: `(H, W, C)` uint8, a photograph without noise, for the cases
            "clean" and "under-exposed"; a drawn scene when not given.
    """
    return [
        judge(case, restore(function, case.image, tile="auto"))
        for case in cases(function.channels, clean, function.task)
    ]


def cases(channels: int, clean: np.ndarray | None = None, task: str | None = None) -> list[Case]:
    """Return the pictures for gray (1) or RGB (3).

    Args:
        channels: `1` or `3`; a gray suite holds the luma of the colours.
        clean: Photograph without noise, `(H, W, C)` uint8, see `run`.
        task: Identifier of a task, whose own pictures are added.
    """
    scene = _scene() if clean is None else clean
    ramp = np.linspace(0, 255, 128)
    pictures = {
        "ramp, left to right": np.broadcast_to(ramp, (96, 128))[..., None],
        "ramp, top to bottom": np.broadcast_to(ramp[:, None], (128, 96))[..., None],
        "ramp of 16 gray levels": np.broadcast_to(np.linspace(0, 16, 128), (96, 128))[..., None],
        "checkerboard of 1 pixel": 255.0 * (np.indices((96, 96)).sum(axis=0) % 2)[..., None],
        "salt and pepper": _salt_and_pepper(scene),
        "clean": scene,
        "under-exposed": scene / 16,
        "8x8 pixels": scene[:8, :8],
        "1x4000 pixels": np.resize(scene[0], (1, 4000, scene.shape[-1])),
        "4000x1 pixels": np.resize(scene[0], (4000, 1, scene.shape[-1])),
    }
    if task is not None:
        pictures |= registry.get(task).stress_pictures(scene)
    flat = {
        name: np.broadcast_to(np.array(color), (64, 64, 3)) for name, color in FLAT_COLORS.items()
    }
    return [Case(name, _image(picture, channels), flat=True) for name, picture in flat.items()] + [
        Case(name, _image(picture, channels)) for name, picture in pictures.items()
    ]


def judge(case: Case, restored: np.ndarray) -> Finding:
    """Compare what came out, `(H, W, C)` float, with what must hold."""
    finite = bool(np.isfinite(restored).all())
    low, high = (float(restored.min()), float(restored.max())) if finite else (np.nan, np.nan)
    written = np.clip(restored, 0, 1)
    shift = None
    if case.flat and finite:
        moved = np.mean(written - case.image, axis=(0, 1), dtype=np.float64)
        shift = float(255 * np.abs(moved).max())
    faults = []
    if not finite:
        faults.append("not finite")
    elif low < -MAX_OVERSHOOT or high > 1 + MAX_OVERSHOOT:
        faults.append(f"values from {low:.3g} to {high:.3g}")
    if shift is not None and shift > MAX_SHIFT:
        faults.append(f"mean moved by {shift:.2f} gray levels")
    return Finding(
        case=case.name,
        height=case.image.shape[0],
        width=case.image.shape[1],
        finite=finite,
        low=low,
        high=high,
        shift=shift,
        psnr=psnr(written, case.image, max_val=1) if finite else None,
        fault="; ".join(faults),
    )


def _scene() -> np.ndarray:
    """Draw shades, edges, stripes and a soft texture, `(160, 192, 3)` on 0-255."""
    y, x = np.mgrid[:160, :192].astype(np.float64)
    shades = np.stack([60 + 0.6 * x, 90 + 0.5 * y, 180 - 0.5 * x], axis=-1)
    disc = (x - 60) ** 2 + (y - 60) ** 2 < 40**2
    shades[disc] = (200, 120, 60)
    stripes = (x > 110) & (y < 70)
    shades[stripes] += 50 * np.sin(x[stripes] * 2 * np.pi / 6)[:, None]
    texture = (y > 110) & (x < 140)
    waves = np.sin(x / 3.1) * np.sin(y / 2.3) + np.sin((x + 2 * y) / 4.7)
    shades[texture] += 12 * waves[texture][:, None]
    return np.clip(np.rint(shades), 0, 255)


def _salt_and_pepper(picture: np.ndarray) -> np.ndarray:
    chance = np.random.default_rng(0).random(picture.shape[:2])
    spoiled = picture.astype(np.float64)
    spoiled[chance < 0.05] = 0
    spoiled[chance > 0.95] = 255
    return spoiled


def _image(picture: np.ndarray, channels: int) -> np.ndarray:
    """Turn 0-255 in 1 or 3 channels into a float32 image of `channels` on [0, 1]."""
    image = (np.asarray(picture) / 255).astype(np.float32)
    if image.shape[-1] == channels:
        return image
    return np.repeat(image, 3, axis=-1) if channels == 3 else luma(image)
