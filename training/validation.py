"""What a run is scored on while it trains."""

from dataclasses import dataclass, replace

import numpy as np

from keras_rdanet.config import RunConfig
from keras_rdanet.data import sources
from keras_rdanet.evaluation import tasks
from keras_rdanet.evaluation.protocols import (
    EvaluationProtocol,
    GaussianNoise,
    Sample,
    Synthetic,
)
from keras_rdanet.image.io import PictureHeader
from keras_rdanet.metrics import WINDOW_SIZE
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.training.build import build_degradation

# What runs over a range of levels are scored at, or at the nearest of their range.
_BLIND_SIGMA = 25
_BLIND_QUALITY = 10


def validation_set(
    config: RunConfig, model: RestorationModel
) -> tuple[EvaluationProtocol, list[Sample]] | None:
    """What `evaluate` would score if files held the middles of the validation images.

    Where the run has other degradations than `evaluate`, as camera noise of
    another range, they are those of the run.

    Returns:
        How to score, and what; `None` if the run has no validation.

    Raises:
        ValueError: if an image cannot be read or does not suit the network.
    """
    options = config.validation
    if options is None:
        return None
    protocol = _protocol(config, options, model)
    source: sources.Source
    if options.layout is not None:
        source = sources.layout(options.layout, options.data, split="test", scale=model.scale)
    elif options.target is not None:
        source = sources.pairs(options.data, options.target, model.scale)
    else:
        source = sources.folder(options.data)
    # What is left of the border and of the multiples of a scale must hold a window of SSIM.
    smallest = WINDOW_SIZE + 3 * protocol.scoring.crop_border
    middles = _Middles(source, options.crop, smallest)
    return protocol, list(protocol.samples(middles, model.channels, options.limit))


@dataclass(frozen=True)
class _Middles:
    """The middles of the images of a source, as if they were its images.

    Args:
        source: The images.
        size: Height and width of targets at most; `None` for all of them.
        smallest: Height and width of targets at least.
    """

    source: sources.Source
    size: int | None
    smallest: int

    @property
    def paired(self) -> bool:
        return self.source.paired

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def headers(self, index: int) -> tuple[PictureHeader, ...]:
        headers = self.source.headers(index)
        cuts = self._cuts(index, [(header.height, header.width) for header in headers])
        return tuple(
            replace(header, height=rows.stop - rows.start, width=columns.stop - columns.start)
            for header, (rows, columns) in zip(headers, cuts, strict=True)
        )

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        images = self.source.read(index)
        cuts = self._cuts(index, [image.shape[:2] for image in images])
        return tuple(image[cut] for image, cut in zip(images, cuts, strict=True))

    def _cuts(self, index, shapes):
        """Rows and columns of each image of a pair, or of one."""
        scales = [height // shapes[0][0] for height, _ in shapes]
        size = (self.size or max(shapes[-1])) // scales[-1]
        if min(size, *shapes[0]) * scales[-1] < self.smallest:
            raise ValueError(
                f"{self.name(index)}: validation needs at least {self.smallest} pixels a side."
            )
        # An even start, so that mosaics begin with the same colour.
        windows = [(max(side - size, 0) // 4 * 2, min(side, size)) for side in shapes[0]]
        return [
            tuple(slice(scale * start, scale * (start + length)) for start, length in windows)
            for scale in scales
        ]


def _protocol(config, options, model):
    how = config.validation_degradation
    if how is None:
        task = tasks.LAYOUTS.get(options.layout) or _task_of_pairs(config, model)
        return tasks.pair_protocol(task, model.scale, tasks.CROP_BORDERS.get(options.layout))
    degradation = build_degradation(how, model)
    sigmas, qualities = [], []
    if how.name == "gaussian_noise":
        sigmas = [_level(how.sigma, _BLIND_SIGMA) if options.sigma is None else options.sigma]
    if how.name == "jpeg":
        qualities = [_level(how.quality, _BLIND_QUALITY)]
    (protocol,) = tasks.clean_protocols(how.name, model.scale, sigmas, qualities)
    if isinstance(protocol, Synthetic):
        return replace(protocol, degradation=degradation)
    if isinstance(protocol, GaussianNoise):
        return replace(protocol, mean=how.mean)
    return protocol


def _level(value, blind):
    return min(max(blind, value[0]), value[1]) if isinstance(value, tuple) else value


def _task_of_pairs(config, model):
    """The task of pairs whose layout does not say it."""
    if model.scale > 1:
        return "bicubic"
    if config.degradation is None or config.degradation.name == "gaussian_noise":
        return "camera_noise"
    return config.degradation.name
