"""RDN: residual dense blocks whose outputs are all fused, for denoising and super-resolution."""

import keras
from keras import ops

from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.resampling import PixelShuffle
from keras_rdanet.models.base import RestorationModel

# Factors of the sub-pixel steps that make up a scale.
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}


@keras.saving.register_keras_serializable(package="keras_rdanet")
class ResidualDenseBlock(keras.layers.Layer):
    """RDB: each 3x3 convolution sees the block input and all features before it.

    A 1x1 convolution fuses them, the old features first, and the block input
    is added.

    Args:
        filters: Width of the input and of the output.
        growth_rate: Width of each 3x3 convolution.
        num_layers: Number of 3x3 convolutions.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`.

    Reference:
        RDN, section 3.2.
    """

    def __init__(self, filters, growth_rate, num_layers, initialization="uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.growth_rate = growth_rate
        self.num_layers = num_layers
        self.initialization = initialization
        self.widths = [filters + i * growth_rate for i in range(num_layers + 1)]
        self.dense_layers = [
            conv(
                growth_rate,
                3,
                self.widths[i],
                initialization,
                activation="relu",
                name=f"dense_layers_{i}",
            )
            for i in range(num_layers)
        ]
        self.local_feature_fusion = conv(
            filters, 1, self.widths[-1], initialization, name="local_feature_fusion"
        )

    def build(self, input_shape):
        layers = [*self.dense_layers, self.local_feature_fusion]
        for layer, width in zip(layers, self.widths, strict=True):
            layer.build((None, None, None, width))

    def call(self, features):
        dense = features
        for layer in self.dense_layers:
            dense = ops.concatenate([dense, layer(dense)], axis=-1)
        return features + self.local_feature_fusion(dense)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "growth_rate": self.growth_rate,
            "num_layers": self.num_layers,
            "initialization": self.initialization,
        }


@keras.saving.register_keras_serializable(package="keras_rdanet")
class RDN(RestorationModel):
    """Residual dense network.

    Args:
        channels: `1` for gray images, `3` for RGB.
        filters: Width of the features between the blocks (the paper's G0).
        growth_rate: Width of the convolutions in the blocks (G).
        num_blocks: Number of residual dense blocks (D).
        num_layers: Number of 3x3 convolutions in each block (C).
        kernel_size: Kernel size of the two first convolutions and of the last,
            an odd number; all others are 3x3 or 1x1.
        scale: Super-resolution factor, `1` to `4`. Above 1 each factor of it
            is a convolution and a pixel shuffle after the global fusion.
        predicts_noise: Whether the last convolution makes the noise, which is
            then subtracted from the input, or the image itself; `scale` 1 only.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input: `(B, H, W, channels)`, float in `[0, 1]` (noise may exceed it); any
    `H` and `W`.
    Output: the restored image, `(B, scale * H, scale * W, channels)`, float32,
    not clipped.

    Raises:
        ValueError: if an argument is outside the values above.

    Reference:
        Zhang et al., Residual Dense Network for Image Restoration, 2020,
        section 3. `rdn_cifar` is the network of github.com/aptlin/noisy-cifar-100-rdn,
        where the local fusion is `growth_rate` wide; as in the paper ours has
        `filters`, which are as many there.
    """

    PRESETS = {
        "rdn_cifar": {
            "channels": 3,
            "filters": 16,
            "growth_rate": 16,
            "num_blocks": 3,
            "num_layers": 5,
            "kernel_size": 3,
            "scale": 1,
            "predicts_noise": True,
        },
        **{
            name: {
                "channels": channels,
                "filters": 64,
                "growth_rate": 64,
                "num_blocks": 16,
                "num_layers": 8,
                "kernel_size": 3,
                "scale": scale,
                "predicts_noise": False,
            }
            for name, channels, scale in (
                ("rdn_gray", 1, 1),
                ("rdn_rgb", 3, 1),
                ("rdn_rgb_x2", 3, 2),
                ("rdn_rgb_x3", 3, 3),
                ("rdn_rgb_x4", 3, 4),
            )
        },
    }
    SMALL = {
        **PRESETS["rdn_gray"],
        "filters": 16,
        "growth_rate": 16,
        "num_blocks": 2,
        "num_layers": 3,
    }
    support = "local"

    def __init__(
        self,
        channels,
        filters,
        growth_rate,
        num_blocks,
        num_layers,
        kernel_size,
        scale,
        predicts_noise,
        initialization="uniform",
        **kwargs,
    ):
        if channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (gray) or 3 (RGB), got {channels}. "
                "Drop an alpha channel before restoring the image."
            )
        if scale not in STEPS:
            raise ValueError(f"`scale` must be 1, 2, 3 or 4, got {scale!r}.")
        if predicts_noise and scale != 1:
            raise ValueError(f"`predicts_noise` needs `scale` 1, got {scale}.")
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {kernel_size}.")

        degraded = keras.Input((None, None, channels), name="degraded")
        shallow = conv(
            filters, kernel_size, channels, initialization, name="outer_shallow_features"
        )(degraded)
        x = conv(filters, kernel_size, filters, initialization, name="inner_shallow_features")(
            shallow
        )
        blocks = []
        for i in range(num_blocks):
            x = ResidualDenseBlock(
                filters, growth_rate, num_layers, initialization, name=f"residual_dense_blocks_{i}"
            )(x)
            blocks.append(x)
        x = conv(filters, 1, num_blocks * filters, initialization, name="global_feature_fusion_0")(
            ops.concatenate(blocks, axis=-1)
        )
        x = conv(filters, 3, filters, initialization, name="global_feature_fusion_1")(x)
        x = x + shallow
        for i, step in enumerate(STEPS[scale]):
            x = conv(step**2 * filters, 3, filters, initialization, name=f"upsampling_{i}")(x)
            x = PixelShuffle(step, name=f"pixel_shuffle_{i}")(x)
        # float16 is spaced 2**-11 just below white, an eighth of a gray
        # level, so what makes the image leaves mixed precision.
        restored = conv(
            channels, kernel_size, filters, initialization, name="output", dtype="float32"
        )(x)
        if predicts_noise:
            restored = keras.layers.Subtract(name="restored", dtype="float32")([degraded, restored])
        super().__init__(degraded, restored, **kwargs)
        self.radius = _radius(num_blocks * num_layers, kernel_size, STEPS[scale])
        # Measured on a CPU in float32: 1,400 bytes for `rdn_cifar`, 13,000 for `rdn_rgb`, and
        # for two blocks at scale 4 as many. What grows with the width are the concatenations
        # inside a block and of all blocks, or else the enlarged features.
        width = 2 * (num_blocks * filters + filters + num_layers * growth_rate)
        self.bytes_per_pixel = max(5 * width, 12 * scale**2 * filters)
        self.channels = channels
        self.filters = filters
        self.growth_rate = growth_rate
        self.num_blocks = num_blocks
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.scale = scale
        self.predicts_noise = predicts_noise
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "filters": self.filters,
            "growth_rate": self.growth_rate,
            "num_blocks": self.num_blocks,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "scale": self.scale,
            "predicts_noise": self.predicts_noise,
            "initialization": self.initialization,
        }


def _radius(dense_layers, kernel_size, steps):
    """Radius of the receptive field in pixels of the input, from the last layer to the first."""
    radius = kernel_size // 2
    for step in reversed(steps):
        radius = -(-radius // step) + 1
    return radius + 1 + dense_layers + 2 * (kernel_size // 2)
