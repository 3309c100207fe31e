"""JPEG artefacts, from a real encoder and decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.tasks.base import EvaluationOption, Pairs, Task
from keras_rdanet.tasks.ranges import WholeRange, check_option, draw_whole, fixed, nearest
from keras_rdanet.tasks.scoring import Scoring

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class JPEG(Task):
    """JPEG compression for a training pipeline, a pure function of its seed.

    Args:
        quality: 1-100, as libjpeg counts; or a range `(low, high)`, both ends
            included, from which every sample of a batch draws its own, uniformly.

    Called with a float32 batch `(B, H, W, C)` in `[0, 1]`, gray or RGB, and a
    seed, two integers, it returns what `compress` makes of every image.

    For scoring, gray networks get Y, of limited range where the file has
    colours, and are also scored by PSNR-B; RGB networks get the decoded
    colours. On Classic5 the degraded images score the published 27.82, 30.12,
    31.48 and 32.43 dB at quality 10, 20, 30 and 40.

    Raises:
        ValueError: if a quality is not an integer of 1-100 or the range is empty.
    """

    quality: WholeRange

    name = "jpeg"
    title = "JPEG compression"
    pairs_title = "JPEG pairs"
    evaluation_options = (
        EvaluationOption(
            "quality", "integer", "quality as libjpeg counts", low=1, high=100, many=True
        ),
    )

    def __post_init__(self):
        check_option(self, "quality", "an integer of 1-100", low=1, high=100, whole=True)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the compressed batch of `target`."""
        import tensorflow as tf

        quality = draw_whole(self.quality, target, seed)
        degraded = tf.numpy_function(_compress_all, [target, quality], tf.float32, stateful=False)
        return tf.ensure_shape(degraded, target.shape)

    @property
    def scoring(self) -> Scoring:
        """On all channels; Y also by PSNR-B."""
        return Scoring(blocks=True)

    @property
    def level(self) -> dict[str, float]:
        """The quality."""
        return {"quality": self._fixed()}

    def degrade(self, clean: np.ndarray, index: int = 0) -> np.ndarray:
        """Return `(H, W, C)` uint8 encoded and decoded, float32 in `[0, 1]`."""
        del index
        return compress(to_float(clean), self._fixed())

    def describe(self) -> dict[str, Any]:
        """Say how images are compressed."""
        return {"degraded": "encoded and decoded by OpenCV's libjpeg, accurate DCT, chroma 4:2:0"}

    def scored(self) -> "JPEG":
        """Return compression at quality 10, or at the nearest quality of the range."""
        return JPEG(nearest(self.quality, 10))

    @classmethod
    def levels(cls, scale: int = 1, *, quality: WholeRange = ()) -> list[Task]:
        """Return the task at each quality; at 10, 20, 30 and 40 if none is given."""
        del scale
        given = quality if isinstance(quality, Sequence) else [quality]
        return [cls(q) for q in given or (10, 20, 30, 40)]

    @classmethod
    def pairs(cls, scale: int = 1, *, crop_border: int | None = None) -> Pairs:
        """Return the protocol that scores pairs, Y also by PSNR-B."""
        return Pairs(cls.pairs_title, scale, Scoring(crop_border=crop_border or 0, blocks=True))

    @classmethod
    def verification(cls, scale: int = 1) -> Task:
        """Return compression at quality 20."""
        del scale
        return cls(20)

    @classmethod
    def calibration(cls, scale: int = 1) -> Task:
        """Return compression at quality 5 to 60."""
        del scale
        return cls((5, 60))

    @classmethod
    def stress_pictures(cls, scene: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scene at quality 5."""
        scene = np.asarray(scene, np.float32) / 255
        return {"quality 5": 255 * compress(scene, 5)}

    def _fixed(self) -> int:
        return fixed("quality", self.quality)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode an image as JPEG and decode it.

    libjpeg's own tables, accurate DCT and, for RGB, half the chroma resolution
    (4:2:0), as most programs write JPEG. One channel is the Y of a gray file.
    On Classic5 the degraded images score the published 27.82, 30.12, 31.48 and
    32.43 dB at the qualities 10, 20, 30 and 40.

    Args:
        image: Image, `(H, W, 1)` or `(H, W, 3)` RGB float32 in `[0, 1]`; it is
            clipped and rounded to 8 bits first.
        quality: Quality as libjpeg counts, 1-100.

    Returns:
        The decoded image, of the same shape, float32, multiples of 1/255 in `[0, 1]`.
    """
    # Not tf.io: its quality cannot differ between samples, evaluation should
    # not need TensorFlow, and its decoder takes a coarser DCT unless told.
    samples = to_samples(image, np.uint8)[..., ::-1]  # OpenCV's order is BGR
    _, file = cv2.imencode(".jpg", samples, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED))
    return to_float(decoded.reshape(image.shape)[..., ::-1])


def _compress_all(images: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    return np.stack([compress(i, q) for i, q in zip(images, qualities, strict=True)])
