"""The images and the protocol that score a run while it trains."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_rdanet.config import RunConfig, ValidationOptions
from keras_rdanet.data import sources
from keras_rdanet.data.check import shared_images
from keras_rdanet.data.sources import shorten
from keras_rdanet.image.io import PictureHeader
from keras_rdanet.image.source import Source
from keras_rdanet.metrics import WINDOW_SIZE
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.tasks import registry
from keras_rdanet.tasks.base import EvaluationProtocol
from keras_rdanet.tasks.scoring import Sample
from keras_rdanet.training.build import check_task, open_source


def validation_set(
    config: RunConfig, model: RestorationModel
) -> tuple[EvaluationProtocol, list[Sample]] | None:
    """The samples that `evaluate` would score if files held the middles of the validation images.

    If the run and `evaluate` degrade images differently, for example with camera noise of
    another range, the degradation of the run is used.

    Returns:
        The protocol and its samples; `None` if the run has no validation.

    Raises:
        ValueError: if an image cannot be read or does not suit the network.
    """
    options = config.validation
    if options is None:
        return None
    protocol = _protocol(config, model)
    source = _open(options, model)
    # Without the border and cut to multiples of the scale, an image must hold a window of SSIM.
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

    source: Source
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


def _open(options: ValidationOptions, model: RestorationModel) -> Source:
    if options.layout is not None:
        return sources.layout(options.layout, options.data, split="test", scale=model.scale)
    if options.target is not None:
        return sources.pairs(options.data, options.target, model.scale)
    return sources.folder(options.data)


def warn_of_shared_images(config: RunConfig, model: RestorationModel) -> None:
    """Warn if images of validation are trained on, too."""
    if config.validation is None:
        return
    validation = _open(config.validation, model)
    trained = [open_source(images, model.scale) for images in (config.data, *config.mix)]
    shared = shared_images(trained, validation)
    if shared:
        warnings.warn(
            f"{len(shared)} of {len(validation)} validation images are trained on, too "
            f"({shorten(shared, 3)}); `val_psnr` says little about other images."
        )


def _protocol(config: RunConfig, model: RestorationModel) -> EvaluationProtocol:
    options = config.validation
    assert options is not None
    if options.layout is not None:
        owner, layout = registry.layout(options.layout)
        return owner.pairs(model.scale, crop_border=layout.crop_border)
    task: Any = config.validation_degradation
    if task is None:
        return registry.of_pairs(config.task, model.scale).pairs(model.scale)
    check_task(task, model)
    scored = replace(task, **options.level) if options.level else task.scored()
    return scored.protocol()
