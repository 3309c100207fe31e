"""TSP-RDANet: a U-shaped stage and a full-resolution dilated stage of dense blocks."""

import keras
from keras import ops

from keras_rdanet.layers.attention import ChannelAttention, SpatialAttention
from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.initializers import conv_initializers
from keras_rdanet.layers.resampling import PadTo
from keras_rdanet.models.base import RestorationModel

RDAB_DILATIONS = (1, 1, 1, 1, 1, 1, 1, 1)
HDRDAB_DILATIONS = (1, 2, 3, 4, 3, 2, 1, 1)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class DenseAttentionBlock(keras.layers.Layer):
    """RDAB (spatial attention) or HDRDAB (dilations, channel attention).

    Each 3x3 convolution sees the block input and all features before it, old
    ones first; the attention and a 1x1 convolution fuse them, and the block
    input is added.

    Args:
        filters: Width of the input, of each convolution and of the output.
        dilations: Dilation rates of the 3x3 convolutions, in order.
        attention: `"spatial"` or `"channel"`, the latter with reduction 8.
        use_bias: Whether convolutions outside the spatial gate have biases.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`.

    Reference:
        TSP-RDANet, section 3.2 (RDAB) and 3.3 (HDRDAB).
    """

    def __init__(
        self, filters, dilations, attention, use_bias, initialization="orthogonal", **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.dilations = tuple(dilations)
        self.attention = attention
        self.use_bias = use_bias
        self.initialization = initialization
        self.convs = [
            conv(
                filters,
                3,
                (i + 1) * filters,
                initialization,
                use_bias=use_bias,
                dilation_rate=dilation,
                activation="relu",
                name=f"conv{i + 1}",
            )
            for i, dilation in enumerate(self.dilations)
        ]
        self.width = (len(self.dilations) + 1) * filters
        if attention == "spatial":
            self.gate = SpatialAttention(initialization=initialization, name="sab")
        elif attention == "channel":
            self.gate = ChannelAttention(self.width, 8, use_bias, initialization, name="cab")
        else:
            raise ValueError(f'`attention` must be "spatial" or "channel", got {attention!r}.')
        self.conv_tail = conv(
            filters, 1, self.width, initialization, use_bias=use_bias, name="conv_tail"
        )

    def build(self, input_shape):
        for i, layer in enumerate(self.convs):
            layer.build((None, None, None, (i + 1) * self.filters))
        self.gate.build((None, None, None, self.width))
        self.conv_tail.build((None, None, None, self.width))

    def dense(self, features):
        """The block input followed by the output of every convolution."""
        for layer in self.convs:
            features = ops.concatenate([features, layer(features)], axis=-1)
        return features

    def call(self, features):
        return features + self.conv_tail(self.gate(self.dense(features)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "dilations": self.dilations,
            "attention": self.attention,
            "use_bias": self.use_bias,
            "initialization": self.initialization,
        }


@keras.saving.register_keras_serializable(package="keras_rdanet")
class TSPRDANet(RestorationModel):
    """Two-stage progressive residual dense attention network.

    One instance of every block serves all its positions: RDAB and HDRDAB run
    five times each, `down`, `up` and the two outer convolutions twice or more.

    Args:
        filters: Width of the features (the paper's `nc`), at least 8.
        channels: `1` for gray images, `3` for RGB.
        use_bias: Whether convolutions outside the spatial gates have biases;
            the released networks have none.
        image_residual: Whether both stages add the degraded image to what
            they predict. The paper does not; short trainings reach more with it.
        initialization: `"orthogonal"` (gain 0.2, Gaussian noise) or
            `"uniform"` (PyTorch's default, real noise).

    Input: `(B, H, W, channels)`, float in `[0, 1]` (noise may exceed it);
    any `H` and `W` from 4.
    Output: `{"stage1": X, "stage2": Y}`, the size of the input, float32, not
    clipped; `Y` is the restored image.

    Raises:
        ValueError: if `channels` is neither `1` nor `3`, or `filters` is below 8.

    Reference:
        Wu et al., Two-stage Progressive Residual Dense Attention Network for
        Image Denoising, arXiv 2401.02831, section 3. As in the authors' code
        the spatial gates have a ReLU before the sigmoid.
    """

    PRESETS = {
        f"tsp_rdanet{size}_{color}": {
            "filters": filters,
            "channels": channels,
            "use_bias": False,
            "image_residual": bool(size),
        }
        for size, filters in (("", 64), ("_small", 32), ("_tiny", 16))
        for color, channels in (("gray", 1), ("rgb", 3), ("real", 3))
    }
    SMALL = {**PRESETS["tsp_rdanet_tiny_gray"], "filters": 8}
    AS_PUBLISHED = {"image_residual": False}
    support = "global_pool"
    min_size = 4

    def __init__(
        self,
        filters,
        channels,
        use_bias,
        image_residual,
        initialization="orthogonal",
        **kwargs,
    ):
        if channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (gray) or 3 (RGB), got {channels}. "
                "Drop an alpha channel before restoring the image."
            )
        if filters < 8:
            raise ValueError(
                f"`filters` must be at least 8, the reduction of the channel gates; got {filters}."
            )
        common = {"use_bias": use_bias, "initialization": initialization}
        half = {
            "filters": filters,
            "kernel_size": 2,
            "strides": 2,
            "data_format": "channels_last",
            "use_bias": use_bias,
            **conv_initializers(initialization, 4 * filters),
        }
        conv_head = conv(filters, 3, channels, name="conv_head", **common)
        sab = SpatialAttention(initialization=initialization, name="sab")
        cab = ChannelAttention(filters, 8, name="cab", **common)
        rdab = DenseAttentionBlock(filters, RDAB_DILATIONS, "spatial", name="rdab", **common)
        hdrdab = DenseAttentionBlock(filters, HDRDAB_DILATIONS, "channel", name="hdrdab", **common)
        down = keras.layers.Conv2D(**half, name="down")
        half = {**half, **conv_initializers(initialization, 4 * filters)}
        up = keras.layers.Conv2DTranspose(**half, name="up")
        pad_to = PadTo(name="pad_to")
        # float16 is spaced 2**-11 just below white, an eighth of a gray
        # level, so what makes the image leaves mixed precision.
        conv_tail = conv(channels, 3, filters, name="conv_tail", dtype="float32", **common)

        degraded = keras.Input((None, None, channels), name="degraded")
        head = conv_head(degraded)

        a1 = rdab(sab(head))
        a2 = rdab(down(a1))
        a3 = rdab(down(a2))
        a4 = rdab(pad_to([up(a3), a2]) + a2)
        a5 = rdab(pad_to([up(a4), a1]) + a1)
        stage1 = conv_tail(a5 + head)

        b1 = hdrdab(cab(head) + a5)
        b2 = hdrdab(b1)
        b3 = hdrdab(b2)
        b4 = hdrdab(b3 + b2)
        b5 = hdrdab(b4 + b1)
        stage2 = conv_tail(b5 + head)

        if image_residual:
            stage1 = keras.layers.Add(dtype="float32", name="stage1")([degraded, stage1])
            stage2 = keras.layers.Add(dtype="float32", name="stage2")([degraded, stage2])
        super().__init__(degraded, {"stage1": stage1, "stage2": stage2}, **kwargs)
        # Measured on a CPU in float32: 2,400, 4,100 and 9,200 bytes for 16, 32 and 64 filters.
        self.bytes_per_pixel = 150 * filters
        self.filters = filters
        self.channels = channels
        self.use_bias = use_bias
        self.image_residual = image_residual
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "channels": self.channels,
            "use_bias": self.use_bias,
            "image_residual": self.image_residual,
            "initialization": self.initialization,
        }
