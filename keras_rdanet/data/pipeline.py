"""From a source of images to batches of patches.

Every batch is a pure function of the files, the options, the seed and the step:
the step is folded into the seed of whatever is random, so a run resumed at a
step sees the batches it would have seen, whatever the cache.

Steps come in blocks of `crops_per_image`. A block takes the next `batch_size`
images of the shuffled epoch and decodes each once; every step of the block
takes one crop of each. So crops of one image lie in different batches.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_rdanet.data.sources import shorten
from keras_rdanet.image.color import luma
from keras_rdanet.image.source import Source

# Most bytes of decoded images that cache="auto" keeps in memory.
CACHE_BUDGET = 4 * 2**30

_WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}
_ORDER, _CROP, _DEGRADE = range(3)  # one stream of random numbers each

# Decoded images stay as long as a dataset uses them; the phases of a run share them.
_RESIDENT: WeakValueDictionary = WeakValueDictionary()

Degrade = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class _Plane:
    """Images of any sizes, end to end: the degraded ones, or the targets.

    Args:
        start: `(images,)` int64, the first pixel of each image.
        size: `(images, 2)` int64, height and width.
        pixels: `(total pixels, C)`.
    """

    start: tf.Tensor
    size: tf.Tensor
    pixels: tf.Tensor

    def of(self, images: tf.Tensor) -> "_Plane":
        """The images of these numbers."""
        return _Plane(tf.gather(self.start, images), tf.gather(self.size, images), self.pixels)


@dataclass(frozen=True)
class _Pixels:
    """The planes of a source: degraded images and targets, or the targets alone."""

    planes: Sequence[_Plane]


def batches(
    source: Source,
    *,
    patch_size: int,
    batch_size: int,
    channels: int,
    degrade: Degrade | None = None,
    seed: int,
    start_step: int = 0,
    steps: int | None = None,
    crops_per_image: int = 8,
    cache: Literal["auto", "ram", "none"] = "auto",
    augment: bool = True,
    scale: int = 1,
    workers: int = 2,
) -> tf.data.Dataset:
    """Make batches of random patches.

    Args:
        source: Images that `sources.folder`, `sources.pairs` or `packed.packed`
            found.
        patch_size: Height and width of a patch of the targets, in pixels.
        batch_size: Number of patches in a batch.
        channels: Number of channels: `1` turns color into BT.601 luma, `3`
            repeats gray.
        degrade: Function that maps targets `(B, P, P, C)` and a seed, int32
            `(2,)`, to the degraded batch, with TensorFlow operations whose only
            randomness is that seed. `None` for pairs.
        seed: Seed of the order, the crops and the degradation, a 32-bit
            integer.
        start_step: The step of the first batch.
        steps: The number of batches; `None` goes on forever.
        crops_per_image: Number of steps that use a decoded image before the
            next one is read. More of them save decoding; `1` mixes best and
            costs nothing in RAM.
        cache: Place of decoded images: `"ram"` decodes every image once and
            keeps it; `"none"` decodes every image again when it is needed;
            `"auto"` takes RAM for images that, decoded, fit both `CACHE_BUDGET`
            and a quarter of the memory. The batches are the same.
        augment: Whether to turn and flip the patches; each of the eight
            orientations is equally likely.
        scale: Size of a target divided by the size of its degraded image, for
            pairs. For clean images `degrade` decides it.
        workers: Number of threads that prepare batches.

    Returns:
        Pairs `(degraded, target)`, float32: targets `(B, P, P, C)` in `[0, 1]`,
        degraded patches of `P / scale` pixels a side, not clipped.

    Raises:
        ValueError: if an image is smaller than a patch, pairs are not of that
            scale or an option is wrong.
    """
    _check_options(source, channels, degrade, cache)
    headers = [source.headers(i) for i in range(len(source))]
    _check_sizes(source, headers, patch_size, scale)
    factors = [1, scale] if source.paired else [1]
    least_size = patch_size // factors[-1]
    dtypes = [
        np.result_type(*{h.dtype for h in plane}).name for plane in zip(*headers, strict=True)
    ]
    in_ram = cache == "ram" or (cache == "auto" and _fits_in_ram(headers, channels, dtypes))
    resident = _load(source, headers, channels, dtypes, workers) if in_ram else None

    def patches(block):
        images = _choose(block, batch_size, len(source), seed)
        if resident is None:
            planes = _decode(source, images, channels, dtypes)
        else:
            planes = [plane.of(images) for plane in resident.planes]

        def cut(drawn):
            drawn = drawn if augment else drawn * [1, 1, 0]
            return tuple(
                tf.gather(plane.pixels, _patch_index(plane, drawn, least_size, factor))
                for plane, factor in zip(planes, factors, strict=True)
            )

        drawn = _draw(block, (crops_per_image, batch_size, 3), seed)
        return tf.map_fn(cut, drawn, fn_output_signature=tuple(dtypes))

    def finish(step, planes):
        images = [tf.cast(p, tf.float32) / _WHITE[d] for p, d in zip(planes, dtypes, strict=True)]
        if degrade is None:
            return tuple(images)
        (target,) = images
        return degrade(target, _fold(seed, _DEGRADE, step)), target

    first_block, used = divmod(start_step, crops_per_image)
    parallel = {"num_parallel_calls": workers, "deterministic": True}
    blocks = tf.data.Dataset.counter(first_block)
    drawn = blocks.map(patches, **parallel).unbatch().skip(used)
    numbers = tf.data.Dataset.counter(start_step)
    dataset = tf.data.Dataset.zip(numbers, drawn).map(finish, **parallel)
    dataset = dataset.take(-1 if steps is None else steps).prefetch(2 * workers)
    cardinality = tf.data.INFINITE_CARDINALITY if steps is None else steps
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    options = tf.data.Options()
    # Input shares the machine with training: without a limit it takes every core.
    options.threading.private_threadpool_size = workers
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return dataset.with_options(options)


def _check_options(source, channels, degrade, cache):
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 (gray) or 3 (RGB), got {channels}.")
    if cache not in ("auto", "ram", "none"):
        raise ValueError(f"`cache` must be 'auto', 'ram' or 'none', got {cache!r}.")
    if source.paired and degrade is not None:
        raise ValueError("Pairs are degraded already: `degrade` must be None.")
    if not source.paired and degrade is None:
        raise ValueError("Clean images need `degrade`, such as GaussianNoise(sigma=25).")


def _check_sizes(source, headers, patch_size, scale):
    small = [
        f"{source.name(i)} is {h.width}x{h.height}"
        for i, (*_, h) in enumerate(headers)
        if min(h.height, h.width) < patch_size
    ]
    if small:
        raise ValueError(
            f"{len(small)} of {len(source)} images are smaller than `patch_size` {patch_size}; "
            f"lower it or take them out: {shorten(small)}."
        )
    if not source.paired:
        return
    if patch_size % scale:
        raise ValueError(f"`patch_size` {patch_size} must be a multiple of `scale` {scale}.")
    other = [
        f"{source.name(i)} is {d.width}x{d.height}, its target {t.width}x{t.height}"
        for i, (d, t) in enumerate(headers)
        if (t.height, t.width) != (scale * d.height, scale * d.width)
    ]
    if other:
        raise ValueError(
            f"{len(other)} of {len(source)} pairs are not of `scale` {scale}: {shorten(other)}."
        )


def _fits_in_ram(headers, channels, dtypes) -> bool:
    size = channels * sum(
        header.height * header.width * np.dtype(dtype).itemsize
        for image in headers
        for header, dtype in zip(image, dtypes, strict=True)
    )
    if not hasattr(os, "sysconf"):  # Windows
        return size <= CACHE_BUDGET
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size <= min(CACHE_BUDGET, memory // 4)


def _load(source, headers, channels, dtypes, workers) -> _Pixels:
    found = _RESIDENT.get((source, channels))
    if found is not None:
        return found
    planes = []
    for plane, dtype in zip(zip(*headers, strict=True), dtypes, strict=True):
        size = np.array([(h.height, h.width) for h in plane], np.int64)
        start = np.cumsum([0, *size.prod(axis=1)])
        planes.append((start, size, np.empty((start[-1], channels), dtype)))

    def load(i):
        images = _read(source, i, channels, dtypes)
        for (start, _, pixels), image in zip(planes, images, strict=True):
            pixels[start[i] : start[i + 1]] = image.reshape(-1, channels)

    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(load, range(len(source)))
        for _ in tqdm(done, "Decoding", len(source), unit="image", leave=False, disable=None):
            pass
    with tf.device("CPU"):
        resident = _Pixels(
            [
                _Plane(tf.constant(start[:-1]), tf.constant(size), tf.constant(pixels))
                for start, size, pixels in planes
            ]
        )
    _RESIDENT[source, channels] = resident
    return resident


def _decode(source, images, channels, dtypes) -> list[_Plane]:
    def decode(indices):
        read = [_read(source, i, channels, dtypes) for i in indices]
        parts = []
        for plane in zip(*read, strict=True):
            size = np.array([image.shape[:2] for image in plane], np.int64)
            start = np.cumsum([0, *size.prod(axis=1)[:-1]], dtype=np.int64)
            parts += [start, size, np.concatenate([i.reshape(-1, channels) for i in plane])]
        return parts

    types = [t for dtype in dtypes for t in (tf.int64, tf.int64, dtype)]
    parts = iter(tf.numpy_function(decode, [images], types))
    planes = [_Plane(*part) for part in zip(parts, parts, parts, strict=True)]
    for plane in planes:
        plane.start.set_shape(images.shape)
        plane.size.set_shape([*images.shape, 2])
        plane.pixels.set_shape([None, channels])
    return planes


def _read(source, index, channels, dtypes) -> list[np.ndarray]:
    images = source.read(index)
    return [_convert(i, channels, d) for i, d in zip(images, dtypes, strict=True)]


def _convert(image: np.ndarray, channels: int, dtype: str) -> np.ndarray:
    if image.dtype == np.float32 and (image.max() > 2 or image.min() < -1):
        warnings.warn(
            "Float images reach from "
            f"{image.min():g} to {image.max():g} where [0, 1] is expected; divide them by what "
            "white is, such as 255."
        )
    if image.shape[2] == 3 and channels == 1:
        image = luma(image)
    elif image.shape[2] == 1 and channels == 3:
        image = np.repeat(image, 3, axis=2)
    if image.dtype == dtype:
        return image
    return image.astype(dtype) * np.dtype(dtype).type(_WHITE[dtype] / _WHITE[image.dtype.name])


def _choose(block, batch_size, count, seed):
    """Number the images of a block, `(batch_size,)`: every epoch in another order."""
    slot = block * batch_size + tf.range(batch_size, dtype=tf.int64)
    epoch = slot // count
    seeds = tf.stack([tf.fill(slot.shape, tf.constant(n, tf.int64)) for n in (seed, _ORDER)])
    # Not tf.random.experimental.index_shuffle, which fails on a batch of seeds.
    return tf.raw_ops.RandomIndexShuffle(
        index=slot % count,
        seed=tf.transpose(tf.concat([seeds, epoch[None]], axis=0)),
        max_index=tf.constant(count - 1, tf.int64),
        rounds=4,
    )


def _fold(seed: int, stream: int, number: tf.Tensor) -> tf.Tensor:
    return tf.random.fold_in(tf.constant([seed, stream]), tf.cast(number, tf.int32))


def _draw(block, shape, seed):
    """Draw integers of 32 bits, a pure function of the block."""
    key = _fold(seed, _CROP, block)
    bits = tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int32)
    return tf.cast(bits, tf.int64)


def _patch_index(plane: _Plane, drawn: tf.Tensor, least_size: int, factor: int) -> tf.Tensor:
    """Number the pixels of one patch of every image.

    A patch that is turned or flipped is a walk over the image in other strides,
    so one gather crops and transforms at once.

    Args:
        plane: The `B` images to cut from.
        drawn: `(B, 3)` int64, any integers; they choose top, left and transform.
        least_size: Height and width of a patch, in units of `factor` pixels.
        factor: What top and left are multiples of, so that planes whose sizes
            differ by it are cut at the same places.

    Returns:
        `(B, P, P)` int64, `P` being `factor * least_size`.
    """
    patch_size = factor * least_size
    height, width = tf.unstack(plane.size, axis=1)
    top, left, mode = tf.unstack(drawn, axis=1)
    top = top % (height // factor - least_size + 1) * factor
    left = left % (width // factor - least_size + 1) * factor
    flip_rows, flip_columns, transpose = (mode // n % 2 for n in (1, 2, 4))
    last = patch_size - 1
    origin = plane.start + (top + flip_rows * last) * width + left + flip_columns * last
    down = (1 - 2 * flip_rows) * width
    right = 1 - 2 * flip_columns
    swap = transpose == 1
    strides = tf.stack([tf.where(swap, right, down), tf.where(swap, down, right)])
    walk = strides[..., None] * tf.range(patch_size, dtype=tf.int64)
    return origin[..., None, None] + walk[0][..., None] + walk[1][..., None, :]
