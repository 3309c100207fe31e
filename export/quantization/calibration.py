"""Tiles of real pictures, degraded as inputs are, on which quantizers measure ranges."""

import hashlib
from dataclasses import dataclass

import numpy as np

from keras_rdanet.data.pipeline import Degrade, batches
from keras_rdanet.image.source import Source
from keras_rdanet.tasks.gaussian_noise import GaussianNoise

# Height and width of a tile, in pixels.
TILE = 64
MIN_TILES = 200


@dataclass(frozen=True)
class CalibrationTiles:
    """Degraded tiles with their targets.

    Args:
        degraded: `(N, side, side, C)` float32, nominally in `[0, 1]`, not clipped.
        target: Clean tiles, `(N, scale * side, scale * side, C)`, in `[0, 1]`.
        sha256: Hash of the degraded tiles, in hexadecimal.
    """

    degraded: np.ndarray
    target: np.ndarray
    sha256: str

    def describe(self) -> dict:
        """Say which tiles these are, for reports and for the files made with them."""
        tiles, side = self.degraded.shape[:2]
        brightness = self.target.mean(axis=(1, 2, 3))
        return {
            "tiles": tiles,
            "side": side,
            "darkest": round(float(brightness.min()), 4),
            "brightest": round(float(brightness.max()), 4),
            "sha256": self.sha256,
        }


def calibration_tiles(
    source: Source,
    *,
    channels: int,
    degrade: Degrade | None = None,
    size: int = TILE,
    count: int = MIN_TILES,
    seed: int = 0,
) -> CalibrationTiles:
    """Cut tiles out of real pictures: the darkest, the brightest and some of medium brightness.

    Four times as many are cut as are kept. An eighth of those kept are the
    darkest of all, an eighth the brightest; the rest are taken evenly from
    the others, by brightness. The same files, options and seed give the same tiles.

    Args:
        source: Clean pictures, or pairs; see `keras_rdanet.data.sources`.
        channels: Number of channels, `1` or `3`.
        degrade: Function that degrades a batch, see `keras_rdanet.data.pipeline.batches`; by
            default Gaussian noise of sigma 0 to 50, drawn for every tile, and nothing for pairs.
        size: Height and width of a tile, in pixels.
        count: Number of tiles, at least `MIN_TILES`.
        seed: Seed of the cuts and the noise, a 32-bit integer.

    Raises:
        ValueError: if there are too few tiles, or a picture is smaller than one.
    """
    if count < MIN_TILES:
        raise ValueError(f"Calibration takes at least {MIN_TILES} tiles, got `count` {count}.")
    if degrade is None and not source.paired:
        degrade = GaussianNoise((0, 50))
    cut = batches(
        source,
        patch_size=size,
        batch_size=count,
        channels=channels,
        degrade=degrade,
        seed=seed,
        steps=4,
        crops_per_image=4,
        cache="none",
        augment=False,
    )
    degraded, target = map(np.concatenate, zip(*cut.as_numpy_iterator(), strict=True))
    kept = _spread(target.mean(axis=(1, 2, 3)), count)
    degraded = np.ascontiguousarray(degraded[kept])
    sha256 = hashlib.sha256(repr(degraded.shape).encode() + degraded.tobytes()).hexdigest()
    return CalibrationTiles(degraded, target[kept], sha256)


def _spread(brightness: np.ndarray, count: int) -> np.ndarray:
    """Which of the candidates to keep, in the order they came in."""
    order = np.argsort(brightness, kind="stable")
    ends = count // 8
    middle = order[ends : len(order) - ends]
    evenly = np.linspace(0, len(middle) - 1, count - 2 * ends).round().astype(int)
    return np.sort(np.concatenate([order[:ends], middle[evenly], order[len(order) - ends :]]))
