"""PANet and PA-EDSR: residual blocks around one pyramid attention."""

import keras
import numpy as np

from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.pyramid_attention import (
    PUBLISHED,
    PyramidAttention,
    prelu,
    smallest_side,
)
from keras_rdanet.layers.resampling import PixelShuffle
from keras_rdanet.models.base import RestorationModel

# Mean color of DIV2K, which PA-EDSR subtracts from its input and adds to its result.
MEAN_RGB = np.array([0.4488, 0.4371, 0.4040], np.float32)


def _trunk(
    head,
    activation,
    *,
    num_blocks,
    res_scale,
    initialization,
    **attention,
):
    """Residual blocks, the attention halfway, a convolution and the long skip.

    Block `i` has the number of the original code, which counts the attention.
    `activation(i)` is the layer between the two convolutions of a block,
    `attention` are arguments of `PyramidAttention`.
    """
    if num_blocks < 2 or num_blocks % 2:
        raise ValueError(
            f"`num_blocks` must be even, half on each side of the attention; got {num_blocks}."
        )
    filters = head.shape[-1]
    x = head
    for i in range(num_blocks + 1):
        if i == num_blocks // 2:
            x = PyramidAttention(
                filters, initialization=initialization, name="attention", **attention
            )(x)
            continue
        y = conv(filters, 3, filters, initialization, name=f"body{i}_conv1")(x)
        y = activation(i)(y)
        y = conv(filters, 3, filters, initialization, name=f"body{i}_conv2")(y)
        x = x + (y if res_scale == 1 else res_scale * y)
    return conv(filters, 3, filters, initialization, name="body_conv")(x) + head


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PANet(RestorationModel):
    """Denoising, demosaicing and JPEG artefact removal with pyramid attention.

    Args:
        filters: Width of the features (the paper's 64).
        num_blocks: Number of residual blocks, which is even: half before the attention.
        channels: `1` for gray images, `3` for RGB.
        reduction: Patches are compared in `filters // reduction` channels.
        res_scale: Factor of the branch in each residual block.
        shared_prelu: Whether one slope serves all residual blocks, as in the
            authors' code, or each has its own.
        resize_mode: Sampling of the pyramid, see `bicubic_resize`: today's
            PyTorch has `"scale_factor"`, the version that the released
            checkpoints were made with had `"size_ratio"`.
        levels, ksize, stride, softmax_scale, average: Arguments of `PyramidAttention`.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, channels)`, `H` and `W` at least 2 with the
    paper's levels, float in `[0, 1]`; the output is float32 and not clipped.
    It is predicted whole: the input image is not added.

    Raises:
        ValueError: if `channels` is neither `1` nor `3`, `num_blocks` is odd,
            or an argument of the attention is refused, see `PyramidAttention`.

    Reference:
        Mei et al., Pyramid Attention Networks for Image Restoration, 2020,
        section 3.3.
    """

    PRESETS = {
        f"panet_{color}": {
            "filters": 64,
            "num_blocks": 80,
            "channels": channels,
            "reduction": 2,
            "res_scale": 1.0,
            "shared_prelu": True,
            "resize_mode": "scale_factor",
            **PUBLISHED,
        }
        for color, channels in (("gray", 1), ("rgb", 3))
    }
    SMALL = {**PRESETS["panet_gray"], "filters": 16, "num_blocks": 4}
    support = "nonlocal"

    def __init__(
        self,
        filters,
        num_blocks,
        channels,
        reduction,
        res_scale,
        shared_prelu,
        resize_mode,
        levels,
        ksize,
        stride,
        softmax_scale,
        average,
        initialization="uniform",
        **kwargs,
    ):
        if channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (gray) or 3 (RGB), got {channels}. "
                "Drop an alpha channel before restoring the image."
            )
        shared = prelu(name="body_prelu")
        degraded = keras.Input((None, None, channels), name="degraded")
        head = conv(filters, 3, channels, initialization, name="head")(degraded)
        x = _trunk(
            head,
            lambda i: shared if shared_prelu else prelu(name=f"body{i}_prelu"),
            num_blocks=num_blocks,
            res_scale=res_scale,
            identity_scale=1,
            reduction=reduction,
            resize_mode=resize_mode,
            levels=levels,
            ksize=ksize,
            stride=stride,
            softmax_scale=softmax_scale,
            average=average,
            initialization=initialization,
        )
        restored = conv(channels, 3, filters, initialization, name="tail", dtype="float32")(x)
        super().__init__(degraded, restored, **kwargs)
        self.min_size = smallest_side(levels)
        # Measured on a CPU in float32 for `panet_rgb`: 98,000 bytes on 64x64 pixels, 108,000
        # on 96x96.
        self.bytes_per_pixel = 1700 * filters
        self.filters = filters
        self.num_blocks = num_blocks
        self.channels = channels
        self.reduction = reduction
        self.res_scale = res_scale
        self.shared_prelu = shared_prelu
        self.resize_mode = resize_mode
        self.levels = tuple(levels)
        self.ksize = ksize
        self.stride = stride
        self.softmax_scale = softmax_scale
        self.average = average
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "channels": self.channels,
            "reduction": self.reduction,
            "res_scale": self.res_scale,
            "shared_prelu": self.shared_prelu,
            "resize_mode": self.resize_mode,
            "levels": list(self.levels),
            "ksize": self.ksize,
            "stride": self.stride,
            "softmax_scale": self.softmax_scale,
            "average": self.average,
            "initialization": self.initialization,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return super().from_config({**PUBLISHED, **config}, custom_objects)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class PAEDSR(RestorationModel):
    """Super-resolution with pyramid attention (PA-EDSR), RGB only.

    Args:
        filters: Width of the features (the paper's 256).
        num_blocks: Number of residual blocks, which is even: half before the attention.
        scale: `2`, `3` or `4`; the last is two steps of 2.
        reduction: Patches are compared in `filters // reduction` channels.
        res_scale: Factor of the branch in each residual block, and of the
            attention's input, as in the authors' code.
        resize_mode: Sampling of the pyramid, as in `PANet`.
        rgb_range: White inside the network, 1 or 255: images are multiplied
            by it after their mean color was subtracted, and the result is
            divided by it. A checkpoint needs the value it was trained with.
        levels, ksize, stride, softmax_scale, average: Arguments of `PyramidAttention`.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input: `(B, H, W, 3)`, `H` and `W` at least 2 with the paper's levels,
    float in `[0, 1]` whatever `rgb_range` is.
    Output: `(B, scale * H, scale * W, 3)`, float32, not clipped.

    Raises:
        ValueError: if `scale` is none of the three, `num_blocks` is odd, or
            an argument of the attention is refused, see `PyramidAttention`.

    Reference:
        Mei et al., Pyramid Attention Networks for Image Restoration, 2020,
        section 4.4; Lim et al., EDSR, 2017.
    """

    PRESETS = {
        f"pa_edsr_x{scale}": {
            "filters": 256,
            "num_blocks": 32,
            "scale": scale,
            "reduction": 8,
            "res_scale": 0.1,
            "resize_mode": "scale_factor",
            "rgb_range": 1,
            **PUBLISHED,
        }
        for scale in (2, 3, 4)
    }
    SMALL = {**PRESETS["pa_edsr_x2"], "filters": 32, "num_blocks": 2, "reduction": 4}
    support = "nonlocal"
    channels = 3

    def __init__(
        self,
        filters,
        num_blocks,
        scale,
        reduction,
        res_scale,
        resize_mode,
        rgb_range,
        levels,
        ksize,
        stride,
        softmax_scale,
        average,
        initialization="uniform",
        **kwargs,
    ):
        if scale not in (2, 3, 4):
            raise ValueError(f"`scale` must be 2, 3 or 4, got {scale!r}.")
        relu = keras.layers.ReLU(name="body_relu")
        degraded = keras.Input((None, None, 3), name="degraded")
        centered = degraded - MEAN_RGB
        if rgb_range != 1:
            centered = rgb_range * centered
        head = conv(filters, 3, 3, initialization, name="head")(centered)
        x = _trunk(
            head,
            lambda _: relu,
            num_blocks=num_blocks,
            res_scale=res_scale,
            identity_scale=res_scale,
            reduction=reduction,
            resize_mode=resize_mode,
            levels=levels,
            ksize=ksize,
            stride=stride,
            softmax_scale=softmax_scale,
            average=average,
            initialization=initialization,
        )
        for i, factor in enumerate((2, 2) if scale == 4 else (scale,)):
            x = conv(factor**2 * filters, 3, filters, initialization, name=f"up{i}")(x)
            x = PixelShuffle(factor, name=f"shuffle{i}")(x)
        x = conv(3, 3, filters, initialization, name="tail", dtype="float32")(x)
        if rgb_range != 1:
            x = x / rgb_range
        super().__init__(degraded, x + MEAN_RGB, **kwargs)
        self.min_size = smallest_side(levels)
        # Measured as above on 64x64: 151,000 bytes for `pa_edsr_x2`, 157,000 for `pa_edsr_x4`.
        self.bytes_per_pixel = 610 * filters
        self.filters = filters
        self.num_blocks = num_blocks
        self.scale = scale
        self.reduction = reduction
        self.res_scale = res_scale
        self.resize_mode = resize_mode
        self.rgb_range = rgb_range
        self.levels = tuple(levels)
        self.ksize = ksize
        self.stride = stride
        self.softmax_scale = softmax_scale
        self.average = average
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "scale": self.scale,
            "reduction": self.reduction,
            "res_scale": self.res_scale,
            "resize_mode": self.resize_mode,
            "rgb_range": self.rgb_range,
            "levels": list(self.levels),
            "ksize": self.ksize,
            "stride": self.stride,
            "softmax_scale": self.softmax_scale,
            "average": self.average,
            "initialization": self.initialization,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return super().from_config({"rgb_range": 1, **PUBLISHED, **config}, custom_objects)
