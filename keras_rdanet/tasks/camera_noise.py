"""Noise as it looks after a camera's processing: from the sensor, through it, to sRGB."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_rdanet.tasks.base import Layout, Task
from keras_rdanet.tasks.bayer_mosaic import bayer_masks
from keras_rdanet.tasks.grain import check_grain, coarsen
from keras_rdanet.tasks.jpeg import JPEG
from keras_rdanet.tasks.ranges import Range, WholeRange, check_option, draw

if TYPE_CHECKING:
    import tensorflow as tf

# Ranges of Brooks et al.: what a camera's processing multiplies by, and its noise.
_RED_GAIN = (1.9, 2.4)
_BLUE_GAIN = (1.5, 1.9)
_BRIGHTNESS = (0.8, 0.1)  # mean and deviation
_READ_SLOPE, _READ_OFFSET, _READ_DEVIATION = 2.18, 1.20, 0.26  # of log read over log shot
_GAMMA = 2.2

# From XYZ to the colours of four cameras' sensors, in the order of that paper's code.
_XYZ_TO_CAMERA = [
    [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
    [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
    [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
    [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
]
_RGB_TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


@dataclass(frozen=True)
class CameraNoise(Task):
    """Camera noise for a training pipeline, a pure function of its seed.

    Every sample of a batch gets a sensor of its own: colours, white balance,
    brightness, place on the Bayer pattern and noise. The picture is taken back
    to what that sensor would have recorded, shot noise (its variance grows with
    the light) and read noise are added, and both the clean and the noisy
    recording are demosaicked and processed to sRGB. Their difference is the
    noise: stronger in some tones and colours than in others, and correlated
    between neighbouring pixels and between colours.

    Args:
        shot: Variance of the shot noise where the sensor is saturated, of 1; or
            a range, drawn from uniformly in its logarithm. The variance of the
            read noise follows from it, with a spread.
        jpeg_quality: Quality of a JPEG compression of the noisy image, see `JPEG`: an integer of
            1-100, a range, or `None` for no compression.
        grain: Width of a grain of the noise in pixels, 1 to 8, or a range, as
            in pictures that were enlarged by that factor. See `coarsen`.

    Called with a float32 RGB batch `(B, H, W, 3)` in `[0, 1]` and a seed, two
    integers, it returns the noisy batch: same shape, float32, clipped to
    `[0, 1]` as a camera does.

    The default range reaches from good light into the dark, with deviations of
    3 to 22 gray levels on photos (5 % and 95 % quantile). The PolyU pairs, 1.6
    to 6.4 levels and correlated by 0.69 between neighbours, are nearer to
    `shot=(1e-5, 1e-3)`, 0.9 to 6.2 and 0.60; with `jpeg_quality=(70, 95)` it is
    0.5 to 3.9 and 0.73.

    Raises:
        ValueError: if `shot` is not positive or above 1, or a range is wrong;
            when called, if the batch is not RGB.

    Reference:
        Brooks et al., Unprocessing Images for Learned Raw Denoising, 2019,
        section 3 and its code, for the steps and all ranges. Guo et al., CBDNet,
        2019, section 3.1, for demosaicking the noise and JPEG. As in both, the
        Poisson noise is a normal one of its variance. What is ours: bilinear
        demosaicking changes a clean picture too; that is not part of the noise here.
        Highlights are not protected when white balance is undone.
    """

    shot: Range = (1e-4, 0.012)
    jpeg_quality: WholeRange | None = None
    grain: Range = 1.0

    name = "camera_noise"
    title = "synthetic camera noise"
    needs_rgb = True
    is_noise = True
    layouts = {
        "sidd": Layout(r"(.*)noisy(_srgb.*)", r"(.*)gt(_srgb.*)"),
        "polyu": Layout(r"(?:.*/)?(.*)_real", r"(?:.*/)?(.*)_mean"),
        "cc": Layout(r"(?:.*/)?(.*)_real", r"(?:.*/)?(.*)_mean"),
    }

    def __post_init__(self):
        check_option(self, "shot", "a variance above 0, at most 1", low=1e-30, high=1)
        check_grain(self)
        if self.jpeg_quality is not None:
            check_option(self, "jpeg_quality", "an integer of 1-100", 1, 100, whole=True)

    def __call__(self, target: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Return the noisy batch of `target`."""
        import tensorflow as tf

        if target.shape[-1] != 3:
            raise ValueError(f"Camera noise needs RGB images (B, H, W, 3), got {target.shape}.")
        camera_seed, level_seed, noise_seed, jpeg_seed = tf.unstack(tf.random.split(seed, 4))
        to_sensor, origins = _draw_cameras(target, camera_seed)
        shot, read = self._draw_levels(target, level_seed)
        masks = bayer_masks(tf.shape(target), origins)

        light = tf.einsum("bhwc,bsc->bhws", to_linear(target), to_sensor)
        clean = tf.clip_by_value(light, 0.0, 1.0)
        deviation = tf.sqrt(shot * clean + read)
        noisy = clean + deviation * tf.random.stateless_normal(tf.shape(clean), noise_seed)
        to_rgb = tf.linalg.inv(to_sensor)

        def develop(recorded):
            colours = tf.einsum("bhws,bcs->bhwc", demosaic(recorded * masks), to_rgb)
            return to_srgb(colours)

        noise = coarsen(develop(noisy) - develop(clean), self.grain, tf.random.fold_in(seed, 0))
        degraded = tf.clip_by_value(target + noise, 0.0, 1.0)
        return (
            degraded if self.jpeg_quality is None else JPEG(self.jpeg_quality)(degraded, jpeg_seed)
        )

    def _draw_levels(self, images, seed):
        """Draw the variances of shot and read noise, `(B, 1, 1, 1)` each."""
        import tensorflow as tf

        shot_seed, read_seed = tf.unstack(tf.random.split(seed, 2))
        ends = np.log(self.shot)
        log_shot = draw(ends.tolist(), images, shot_seed)
        spread = _READ_DEVIATION * tf.random.stateless_normal(tf.shape(log_shot), read_seed)
        log_read = _READ_SLOPE * log_shot + _READ_OFFSET + spread
        return tf.exp(log_shot)[:, None, None, None], tf.exp(log_read)[:, None, None, None]


def _draw_cameras(images: "tf.Tensor", seed: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """Draw the camera of each image.

    Returns:
        From linear RGB to the light that the sensor counts, white balance and
        brightness undone, `(B, 3, 3)`; and where on the Bayer pattern the
        image starts, `(B, 2)`.
    """
    import tensorflow as tf

    mix_seed, red_seed, blue_seed, bright_seed, origin_seed = tf.unstack(tf.random.split(seed, 5))
    count = tf.shape(images)[0]
    mix = tf.random.stateless_uniform([count, len(_XYZ_TO_CAMERA)], mix_seed, 1e-6, 1.0)
    mix /= tf.reduce_sum(mix, axis=1, keepdims=True)
    matrices = np.array(_XYZ_TO_CAMERA) @ _RGB_TO_XYZ
    colours = tf.einsum("bm,msc->bsc", mix, tf.constant(matrices, tf.float32))
    colours /= tf.reduce_sum(colours, axis=2, keepdims=True)  # white stays white

    mean, deviation = _BRIGHTNESS
    # A truncated draw, so that no camera is dark or upside down.
    brightness = mean + deviation * tf.random.stateless_truncated_normal([count], bright_seed)
    red, blue = draw(_RED_GAIN, images, red_seed), draw(_BLUE_GAIN, images, blue_seed)
    sensitivity = brightness[:, None] / tf.stack([red, tf.ones_like(red), blue], axis=1)
    origins = tf.random.stateless_uniform([count, 2], origin_seed, 0, 2, tf.int32)
    return colours * sensitivity[..., None], origins


def to_linear(images: "tf.Tensor") -> "tf.Tensor":
    """Undo the tone curve and the gamma of `to_srgb`.

    Args:
        images: Float tensor in `[0, 1]`; clipped there.

    Returns:
        Images of the same shape, in `[0, 1]`.
    """
    import tensorflow as tf

    toned = 0.5 - tf.sin(tf.asin(1.0 - 2.0 * tf.clip_by_value(images, 0.0, 1.0)) / 3.0)
    return tf.maximum(toned, 0.0) ** _GAMMA


def to_srgb(images: "tf.Tensor") -> "tf.Tensor":
    """Compress linear light: a gamma of 2.2, then the tone curve `3 x^2 - 2 x^3`.

    Args:
        images: Float tensor in `[0, 1]`; clipped there.

    Returns:
        Images of the same shape, in `[0, 1]`.
    """
    import tensorflow as tf

    x = tf.clip_by_value(images, 0.0, 1.0) ** (1 / _GAMMA)
    return x * x * (3.0 - 2.0 * x)


def demosaic(mosaics: "tf.Tensor") -> "tf.Tensor":
    """Fill the missing samples of Bayer mosaics with the mean of their neighbours.

    Args:
        mosaics: `(B, H, W, 3)` float, zeros at the missing samples; at least two
            pixels high and wide.

    Returns:
        Images of the same shape; the samples that were taken are unchanged.
    """
    import tensorflow as tf

    # The reflection without the border pixel continues the pattern.
    padded = tf.pad(mosaics, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    kernels = np.stack([square, cross, square], axis=2)[..., None]
    kernels = tf.constant(kernels, mosaics.dtype)
    return tf.nn.depthwise_conv2d(padded, kernels, [1, 1, 1, 1], "VALID")
