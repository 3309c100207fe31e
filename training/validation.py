"""What a run is scored on while it trains."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import tensorflow as tf

from keras_rdanet.config import RunConfig
from keras_rdanet.data import sources
from keras_rdanet.evaluation.protocols import GaussianNoise, RealPairs, Sample
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.training.build import build_degradation

_BLIND_SIGMA = 25  # what runs over a range of sigma are scored at
_SEED = 0


def validation_samples(config: RunConfig, model: RestorationModel) -> list[Sample]:
    """Crops from the middle of the validation images, degraded for the task of the run.

    Gaussian noise of mean 0 is that of the papers' protocol. Any other
    degradation is that of the training pipeline with a fixed seed for each
    image, so that all checkpoints of a run are scored on the same crops.

    Raises:
        ValueError: if an image cannot be read or does not suit the network.
    """
    options = config.validation
    if options is None:
        return []
    if options.paired:
        pairs = _pairs(options, model.scale)
        samples = RealPairs(scale=model.scale).samples(pairs, model.channels, options.limit)
        return [_middle(sample, options.crop, model) for sample in samples]
    return list(_degraded(config, model, sources.folder(options.data)))


def _pairs(options, scale) -> sources.PairSource:
    if options.layout is not None:
        return sources.layout(options.layout, options.data, split="test", scale=scale)
    return sources.pairs(options.data, options.target, scale)


def _degraded(config, model, source) -> Iterator[Sample]:
    options, how = config.validation, config.validation_degradation
    if how.name == "gaussian_noise":
        sigma = _BLIND_SIGMA if isinstance(how.sigma, tuple) else how.sigma
        sigma = sigma if options.sigma is None else options.sigma
        how = how.model_copy(update={"sigma": sigma})
    degrade = build_degradation(how, model)
    if how.name == "gaussian_noise" and how.mean == 0:
        for sample in GaussianNoise(sigma).samples(source, model.channels, options.limit):
            yield _middle(sample, options.crop, model)
        return
    clean = GaussianNoise(0).samples(source, model.channels, options.limit)
    for index, sample in enumerate(clean):
        target = _middle(sample, options.crop, model).target
        images = tf.constant(target[None], tf.float32) / 255
        degraded = np.asarray(degrade(images, tf.constant([_SEED, index])))[0]
        yield replace(sample, degraded=degraded, target=target)


def _middle(sample, size, model):
    """Cut a sample to at most `size` pixels a side, and to a size that the network takes."""
    step = model.multiple * model.scale
    scale = len(sample.target) // len(sample.degraded)
    windows = []
    for side in sample.target.shape[:2]:
        length = min(side, size or side) // step * step
        if not length:
            raise ValueError(f"{sample.name}: validation needs at least {step} pixels a side.")
        start = (side - length) // 2 // scale * scale
        windows.append((start, start + length))
    rows, columns = (slice(*window) for window in windows)
    small_rows, small_columns = (slice(a // scale, b // scale) for a, b in windows)
    return replace(
        sample,
        degraded=sample.degraded[small_rows, small_columns],
        target=sample.target[rows, columns],
    )
