"""Restoring images and pictures of any size with a network or an exported file."""

import dataclasses
import logging
import math
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from keras_rdanet.image.color import luma
from keras_rdanet.image.io import Picture, to_float, to_samples
from keras_rdanet.image.metadata import enlarged, recolored
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.mosaic import PATTERNS, check_pattern, from_rggb, spread
from keras_rdanet.inference.open import family_members, is_export, is_file, open_model, rgb_sibling
from keras_rdanet.inference.pillow import from_pillow, to_pillow
from keras_rdanet.inference.self_ensemble import self_ensemble
from keras_rdanet.inference.tiling import check_tile, choose_tile, restore_tiled
from keras_rdanet.profiling import available_memory
from keras_rdanet.weights import catalogue

PRECISIONS = ("auto", "float32", "bfloat16")
# The task of networks that demosaic.
MOSAIC_TASK = "bayer_mosaic"

# Images on 0-255 have a greater mean, and images in [0, 1] a smaller one, noise included.
_BRIGHTEST_MEAN = 1.5

logger = logging.getLogger(__name__)


class Restorer:
    """Restores pictures of any size, gray or RGB, with a network or an exported file.

    Gray pictures go through an RGB network as three equal channels, and the
    luma of the result comes back. Nothing ever adds noise or clips floats.
    Safe to call from several threads: the network serves them one tile at a
    time, so that memory does not grow with their number.

    Args:
        model: A name (`"tsp_rdanet_tiny_gray"`, with or without the tag of
            its weights), a family (`"tsp_rdanet_tiny"`: its gray or RGB
            network, as the picture needs), the path of a weights file, a
            model or an `ImageFunction`; by default `catalogue.DEFAULT`.
        tile: `"auto"`: whole pictures where memory allows, else tiles;
            `"off"`: always whole; a number: tiles of that side.
        precision: `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 for uint8
            pictures where the processor computes in it, float32 for all
            else. An export, a model or an `ImageFunction` keeps its own.
        strength: Share of the restored picture in the result, 0 to 1; at 0 the samples are those
            of the input, bit for bit.
        self_ensemble: Whether to average over the eight flips and turns, which is slightly better
            and eight times slower.
        mosaic: Pattern of the first two rows and columns of a Bayer mosaic, `"rggb"` or another of
            `mosaic.PATTERNS`. Gray pictures are then mosaics, RGB pictures are used at the
            recorded samples only, and all results are RGB. `None` for other pictures.
        trust_model: Whether an exported file may hold any operation. Otherwise one that can do
            more than compute is refused, because it could read and write files.

    Raises:
        ValueError: if an option or the name of the model is unknown, or its
            file is refused.
        OSError: if the file of the model cannot be read.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        tile: str | int = "auto",
        precision: str = "auto",
        strength: float = 1.0,
        self_ensemble: bool = False,
        mosaic: str | None = None,
        trust_model: bool = False,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {PRECISIONS}, got {precision!r}.")
        if not isinstance(strength, int | float) or not 0 <= strength <= 1:
            raise ValueError(f"`strength` must be from 0 to 1, got {strength!r}.")
        check_tile(tile)
        if mosaic is not None:
            check_pattern(mosaic)
            if self_ensemble:
                raise ValueError("A mosaic cannot be turned, so it has no `self_ensemble`.")
        model = catalogue.DEFAULT if model is None else model
        self._members: tuple[str, str] | None = None
        if not isinstance(model, str | Path):
            model = open_model(model, precision=None if precision == "auto" else precision)
        self._is_name = not isinstance(model, ImageFunction) and not is_file(model)
        if self._is_name:
            self._members = family_members(model)
            if self._members is None:
                catalogue.resolve(str(model))
        self.model: ImageFunction | str | Path = model
        self.tile = tile
        self.precision = precision
        self.strength = strength
        self.self_ensemble = self_ensemble
        self.mosaic = mosaic
        self.trust_model = trust_model
        self._opened: dict[tuple[str, str], ImageFunction] = {}
        self._opening = threading.Lock()
        self._computing = threading.Lock()
        self._max_tile_pixels: int | None = None

    def __call__(self, image: Any) -> Any:
        """Restore one image or a batch of images.

        Args:
            image: `(H, W)`, `(H, W, C)` or `(N, H, W, C)`, C 1 or 3 (RGB):
                floats, nominally in `[0, 1]`, where values outside are kept,
                uint8 in 0-255 or uint16 in 0-65535; or a PIL image.

        Returns:
            The restored image with the shape of the given one (height and
            width times the scale of a super-resolution model; three channels
            from a mosaic): float32 and not clipped for floats; uint8 or uint16,
            rounded and clipped, for those; a PIL image, with the same alpha
            channel, for a PIL image.

        Raises:
            ValueError: if the shape does not fit, a value is not finite, or a
                PIL image has another mode.
            TypeError: if the image is made of something else.

        Example:
            >>> import numpy as np
            >>> import keras_rdanet as kr
            >>> restore = kr.Restorer("tsp_rdanet_tiny_rgb")
            >>> noisy = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
            >>> clean = restore(noisy)
            >>> clean.shape, clean.dtype
            ((32, 48, 3), dtype('uint8'))
        """
        if isinstance(image, Image.Image):
            return to_pillow(self.picture(from_pillow(image)), like=image)
        image = np.asarray(image)
        if image.dtype.kind == "f":
            image = image.astype(np.float32, copy=False)
            if image.size > 0 and _BRIGHTEST_MEAN < image.mean() < math.inf:
                warnings.warn(
                    f"These floats are {image.mean():.0f} on average, but images have values in "
                    "[0, 1]: divide by 255 (for 8 bits), or give the integers themselves.",
                    stacklevel=2,
                )
        elif image.dtype not in (np.uint8, np.uint16):
            raise TypeError(
                f"`image` must be floats in [0, 1], uint8, uint16 or a PIL image, got "
                f"{image.dtype}."
            )
        if image.ndim == 2 and image.size > 0:
            restored = self._restore(image[..., None])
            return restored if self.mosaic else restored[..., 0]
        if image.ndim not in (3, 4) or image.shape[-1] not in (1, 3) or image.size == 0:
            raise ValueError(
                "`image` must be (H, W), (H, W, C) or (N, H, W, C) with 1 channel (gray) or "
                f"3 (RGB) and not empty, got shape {image.shape}."
            )
        if image.ndim == 3:
            return self._restore(image)
        return np.stack([self._restore(one) for one in image])

    def picture(
        self,
        picture: Picture,
        on_tile: Callable[[int, int], None] | None = None,
        *,
        function: ImageFunction | None = None,
    ) -> Picture:
        """Restore a picture in its own dtype; memory hardly grows with its size.

        Alpha and metadata are passed on as they are, for an enlarged picture
        at its size. Where alpha is 0 the samples stay as well, and the network
        sees the nearest visible colour in their place, so that hidden colours
        cannot bleed.

        Args:
            picture: uint8, uint16 or float32.
            on_tile: Function that is called after each tile with two numbers: the tiles done and
                all tiles.
            function: Result of `function_for` for this picture, if it is known already.

        Returns:
            The restored picture: rounded for integers, not clipped for floats.

        Raises:
            ValueError: if a sample is not finite, or an RGB picture meets a
                gray network.
        """
        samples, alpha, metadata = picture.samples, picture.alpha, picture.metadata
        function = function or self.function_for(samples.shape[-1], samples.dtype)
        scale = function.scale
        same_pixels = scale == 1 and self.mosaic is None
        visible = alpha is None or alpha.any()
        if same_pixels and (self.strength == 0 or not visible):
            return picture
        if alpha is None or alpha.all() or not visible or self.mosaic:
            restored = self._restore(samples, on_tile, function)
        else:
            restored = self._restore(_fill_transparent(samples, alpha), on_tile, function)
            if same_pixels:
                restored[alpha == 0] = samples[alpha == 0]
        if scale > 1:
            height, width = restored.shape[:2]
            metadata = enlarged(metadata, scale, height, width)
            if alpha is not None:  # linear: anything sharper would overshoot into a halo
                alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
        if restored.shape[-1] != samples.shape[-1]:
            metadata = recolored(metadata)
        return Picture(restored, alpha, metadata)

    def function_for(self, channels: int, dtype: Any) -> ImageFunction:
        """The function that restores pictures of that many channels and that dtype.

        Raises:
            ValueError: if the picture is RGB, or a mosaic, and the network
                gray; or if only one of both is of mosaics.
        """
        channels = 3 if self.mosaic else channels
        if isinstance(self.model, ImageFunction):
            function = self.model
        else:
            function = self._open(self._name_for(channels), self._precision_for(dtype))
        if self.mosaic is None and function.task == MOSAIC_TASK:
            raise ValueError(
                f"{function.name} restores Bayer mosaics; say how they start: "
                f"`mosaic` (--mosaic) {', '.join(PATTERNS)}."
            )
        if self.mosaic and function.task not in (None, MOSAIC_TASK):
            raise ValueError(f"{function.name} was trained for {function.task}, not for mosaics.")
        if channels == 3 and function.channels == 1:
            sibling = self._is_name and rgb_sibling(self.model)
            for_task = f" for {function.task}" if function.task else ""
            raise ValueError(
                f"{function.name} restores gray pictures and this one is "
                f"{'a mosaic' if self.mosaic else 'RGB'}; use "
                + (f"{sibling}." if sibling else f"an RGB model{for_task}.")
            )
        return function

    def _name_for(self, channels):
        return self._members[channels == 3] if self._members else self.model

    def _precision_for(self, dtype):
        if self.precision != "auto":
            return self.precision
        if not self._is_name and is_export(self.model):
            return None
        is_8_bit = np.dtype(dtype) == np.uint8
        return "bfloat16" if is_8_bit and cpu_has_bfloat16() else "float32"

    def _open(self, name, precision):
        with self._opening:
            key = (str(name), precision)
            if key not in self._opened:
                self._opened[key] = open_model(name, precision=precision, trust=self.trust_model)
            return self._opened[key]

    def _restore(self, samples, on_tile=None, function=None):
        """Restore `(H, W, C)` of any depth in that depth."""
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            raise ValueError("The image holds values that are not finite (NaN or infinity).")
        function = function or self.function_for(samples.shape[-1], samples.dtype)
        scale = function.scale
        if self.strength < 1 and (scale > 1 or self.mosaic):
            what = "demosaics" if self.mosaic else f"enlarges {scale} times"
            raise ValueError(f"{function.name} {what}; only strength 1 makes sense with it.")
        if self.strength == 0:
            return samples.copy()
        if self.mosaic:
            return self._restore_mosaic(function, samples, self.mosaic, on_tile)
        return self._restore_tiles(function, samples, samples.shape[-1], on_tile)

    def _restore_mosaic(self, function, samples, pattern, on_tile):
        started = from_rggb(samples, pattern)
        # Tiles start on even rows and columns, where the pattern does.
        function = dataclasses.replace(function, multiple=math.lcm(function.multiple, 2))
        restored = self._restore_tiles(function, started, 3, on_tile)
        height, width = (side * function.scale for side in samples.shape[:2])
        return restored[-height:, -width:]

    def _restore_tiles(self, function, samples, channels, on_tile):
        height, width = samples.shape[:2]
        scale = function.scale
        replicate = function.channels == 3 and channels == 1
        restored = np.empty((height * scale, width * scale, channels), samples.dtype)

        def prepare(part):
            values = to_float(part)
            if self.mosaic:
                return spread(values)
            return np.repeat(values, 3, axis=-1) if replicate else values

        def write(top, rows):
            rows = luma(rows) if replicate else rows
            bottom = top + len(rows)
            if self.strength < 1:
                before = to_float(samples[top:bottom])
                rows = before + np.float32(self.strength) * (rows - before)
            restored[top:bottom] = to_samples(rows, samples.dtype)

        wanted = choose_tile(
            function, height, width, self.tile, self._max_tile_pixels, available_memory()
        )
        call = self._guarded(function)
        call = self_ensemble(call) if self.self_ensemble else call
        sufficed = restore_tiled(
            call, samples, wanted, write=write, prepare=prepare, on_tile=on_tile
        )
        if sufficed != wanted:
            self._max_tile_pixels = sufficed[0] * sufficed[1]
        return restored

    def _guarded(self, function):
        """`function`, one call at a time, with values that are not finite computed again."""

        def restore(images):
            with self._computing:
                restored = function(images)
                if np.isfinite(restored).all():
                    return restored
                if function.precision == "bfloat16" and not isinstance(self.model, ImageFunction):
                    logger.warning(
                        "%s overflowed in %s; this tile is computed in float32.",
                        function.name,
                        function.precision,
                    )
                    restored = self._open(self._name_for(function.channels), "float32")(images)
            if not np.isfinite(restored).all():
                raise ValueError(
                    f"{function.name} gave values that are not finite; nothing is written. "
                    "Take another model, and please report this one."
                )
            return restored

        return dataclasses.replace(function, function=restore)


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (x86 on Linux; elsewhere no)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _fill_transparent(samples, alpha):
    """Replace fully transparent pixels by the nearest visible one."""
    transparent = alpha == 0
    labels = cv2.distanceTransformWithLabels(
        transparent.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    colors = np.empty((labels.max() + 1, samples.shape[-1]), samples.dtype)
    colors[labels[~transparent]] = samples[~transparent]
    filled = samples.copy()
    filled[transparent] = colors[labels[transparent]]
    return filled
