"""DANet: a U-shaped network of deformable and attentive blocks on wavelet bands."""

import keras
from keras import ops

from keras_rdanet.layers.attention import ChannelAttention
from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.deformable import DeformableConv2D, steering_conv
from keras_rdanet.layers.initializers import conv_initializers
from keras_rdanet.layers.resampling import BilinearUpsampling
from keras_rdanet.layers.wavelet import HaarTransform, InverseHaarTransform
from keras_rdanet.models.base import RestorationModel

BLOCKS = ("plain", "deform", "adeb")


@keras.saving.register_keras_serializable(package="keras_rdanet")
class DualAttention(keras.layers.Layer):
    """DAM: a channel gate and a spatial gate side by side, joined by a 1x1 convolution.

    Args:
        filters: Width of input and output.
        reduction: The channel gate has `filters // reduction` hidden
            channels, at least one.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`.

    Reference:
        DANet, section 3.2. The text leaves the convolutions of the spatial
        gate open: ours are 3x3 for the maximum and the mean, 7x7 for both.
    """

    def __init__(self, filters, reduction, initialization="uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.reduction = reduction
        self.initialization = initialization
        self.ca = ChannelAttention(
            filters, min(reduction, filters), True, initialization, name="ca"
        )
        self.sa_max = conv(1, 3, 1, initialization, name="sa_max")
        self.sa_avg = conv(1, 3, 1, initialization, name="sa_avg")
        self.sa_fuse = conv(1, 7, 2, initialization, name="sa_fuse")
        self.merge = conv(filters, 1, 2 * filters, initialization, name="merge")

    def build(self, input_shape):
        self.ca.build(input_shape)
        self.sa_max.build((None, None, None, 1))
        self.sa_avg.build((None, None, None, 1))
        self.sa_fuse.build((None, None, None, 2))
        self.merge.build((None, None, None, 2 * self.filters))

    def call(self, features):
        largest = self.sa_max(ops.max(features, axis=-1, keepdims=True))
        mean = self.sa_avg(ops.mean(features, axis=-1, keepdims=True))
        gate = ops.sigmoid(self.sa_fuse(ops.concatenate([largest, mean], axis=-1)))
        return self.merge(ops.concatenate([self.ca(features), features * gate], axis=-1))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "initialization": self.initialization,
        }


@keras.saving.register_keras_serializable(package="keras_rdanet")
class DeformableBlock(keras.layers.Layer):
    """ADEB, the attentive deformable block, or a reduced block of its ablation.

    A first convolution and a ReLU, further convolutions with ReLUs between
    them, and the block input added to `x_d`; an ADEB then adds the dual
    attention of `x_d`.

    Args:
        filters: Width of input and output.
        kind: `"adeb"`: first convolution deformable, dual attention.
            `"deform"`: without the attention. `"plain"`: first convolution
            plain as well.
        num_convs: Convolutions after the first.
        reduction: Factor by which the attention narrows its input, see `DualAttention`.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`.

    Reference:
        DANet, section 3.2, and table 8 for the kinds.
    """

    def __init__(self, filters, kind, num_convs, reduction, initialization="uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kind = kind
        self.num_convs = num_convs
        self.reduction = reduction
        self.initialization = initialization
        if kind == "plain":
            self.conv_in = conv(filters, 3, filters, initialization, name="conv_in")
        else:
            self.offset = steering_conv(name="offset")
            self.deform = DeformableConv2D(filters, initialization, name="deform")
        self.convs = [
            conv(filters, 3, filters, initialization, name=f"conv{i}") for i in range(num_convs)
        ]
        if kind == "adeb":
            self.dam = DualAttention(filters, reduction, initialization, name="dam")

    def build(self, input_shape):
        shape = (None, None, None, self.filters)
        if self.kind == "plain":
            self.conv_in.build(shape)
        else:
            self.offset.build(self.offset_shape())
            self.deform.build([shape, (None, None, None, self.offset.filters)])
        for layer in self.convs:
            layer.build(shape)
        if self.kind == "adeb":
            self.dam.build(shape)

    def offset_shape(self):
        """Shape of the features that the offsets are made from."""
        return (None, None, None, self.filters)

    def call(self, features):
        if self.kind == "plain":
            return self.body(features, self.conv_in(features))
        return self.body(features, self.deform([features, self.offset(features)]))

    def body(self, features, x):
        """The block after its first convolution, whose output is `x`."""
        for layer in self.convs:
            x = layer(ops.relu(x))
        x = features + x
        return x + self.dam(x) if self.kind == "adeb" else x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kind": self.kind,
            "num_convs": self.num_convs,
            "reduction": self.reduction,
            "initialization": self.initialization,
        }


@keras.saving.register_keras_serializable(package="keras_rdanet")
class RecurrentOffsetBlock(DeformableBlock):
    """AROB: an ADEB whose offsets come from a state that all AROBs pass on.

    Args:
        filters: Width of the features.
        state: Width of the state.
        first: Whether there is no state yet.
        num_convs, reduction, initialization: Arguments of `DeformableBlock`.

    Input: features `(B, H, W, filters)`, or a list of them and the state
    `(B, H, W, state)` of the block before. Output: features and new state.

    Reference:
        DANet, sections 1 and 5.4; the text at hand does not show its inside.
    """

    def __init__(
        self, filters, state, first, num_convs, reduction, initialization="uniform", **kwargs
    ):
        super().__init__(filters, "adeb", num_convs, reduction, initialization, **kwargs)
        self.state = state
        self.first = first
        self.state_in = conv(state, 3, filters, initialization, name="state_in")
        if not first:
            self.state_mix = conv(state, 3, 2 * state, initialization, name="state_mix")
        self.state_out = conv(state, 3, state, initialization, name="state_out")
        self.state_dam = DualAttention(state, reduction, initialization, name="state_dam")

    def build(self, input_shape):
        super().build(input_shape)
        self.state_in.build((None, None, None, self.filters))
        if not self.first:
            self.state_mix.build((None, None, None, 2 * self.state))
        self.state_out.build((None, None, None, self.state))
        self.state_dam.build((None, None, None, self.state))

    def offset_shape(self):
        """Shape of the state."""
        return (None, None, None, self.state)

    def call(self, inputs):
        features = inputs if self.first else inputs[0]
        state = ops.relu(self.state_in(features))
        if not self.first:
            state = ops.relu(self.state_mix(ops.concatenate([state, inputs[1]], axis=-1)))
        state = self.state_out(state)
        state = state + self.state_dam(state)
        restored = self.body(features, self.deform([features, self.offset(state)]))
        return restored, state

    def compute_output_shape(self, input_shape):
        shape = input_shape if self.first else input_shape[0]
        return shape, (*shape[:-1], self.state)

    def get_config(self):
        config = super().get_config()
        del config["kind"]
        return {**config, "state": self.state, "first": self.first}


def state_down(state):
    """Bring a state to half the size; offsets are lengths, so they halve as well."""
    return 0.5 * keras.layers.AveragePooling2D(2, data_format="channels_last")(state)


def state_up(state):
    """Bring a state to twice the size."""
    return 2 * BilinearUpsampling()(state)


@keras.saving.register_keras_serializable(package="keras_rdanet")
class DANet(RestorationModel):
    """Deformable and attentive network: two wavelet steps down and up again.

    Each scale has a stage of ADEBs and one AROB on the way down and on the
    way up, the lowest has one in the middle; encoder features are added to
    the decoder's.

    Args:
        filters: Widths of the scales, full resolution first; `n` scales have
            `n - 1` steps between them.
        encoder_blocks: Number of ADEBs in each stage of the encoder.
        middle_blocks: Number of ADEBs in the middle.
        decoder_blocks: Number of ADEBs in each stage of the decoder.
        channels: `1` for gray images, `3` for RGB.
        state: Width of the state that the AROBs pass on.
        num_convs: Number of plain convolutions in a block.
        reduction: Factor by which the channel gates narrow their input.
        encoder: Kind of the blocks of encoder and middle, see `DeformableBlock`.
        decoder: Kind of the blocks of the decoder.
        use_arob: Whether stages end with an AROB, else with one more block.
        use_wavelet: Whether size changes by Haar transforms and 3x3
            convolutions, else by strided 2x2 convolutions.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, channels)`, `H` and `W` multiples of 2 for
    each step (4 in the presets), float in `[0, 1]`; the output is float32,
    not clipped, the input plus what the network predicts.

    Raises:
        ValueError: if `channels` is neither `1` nor `3`, or a kind of block
            is unknown.

    Reference:
        Huang et al., Learning Deformable and Attentive Network for image
        restoration, Knowledge-Based Systems 2021. No code of the authors is
        public, and the text leaves widths, depths and the inside of the AROB
        open; ours meet its parameters and multiply-accumulates within 1.3 %.
    """

    PRESETS = {
        f"{name}_{color}": {
            "filters": (64, 128, 256),
            "encoder_blocks": encoder_blocks,
            "middle_blocks": 1,
            "decoder_blocks": decoder_blocks,
            "channels": channels,
            "state": 32,
            "num_convs": 3,
            "reduction": 16,
            "encoder": "adeb",
            "decoder": "adeb",
            "use_arob": True,
            "use_wavelet": True,
        }
        for name, encoder_blocks, decoder_blocks in (
            ("danet", 8, 8),
            ("danet_s", 3, 4),
            ("danet_teacher", 16, 4),
        )
        for color, channels in (("gray", 1), ("rgb", 3))
    }
    SMALL = {
        **PRESETS["danet_gray"],
        "filters": (12, 16, 20),
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "state": 8,
        "num_convs": 1,
        "reduction": 4,
    }
    support = "global_pool"

    def __init__(
        self,
        filters,
        encoder_blocks,
        middle_blocks,
        decoder_blocks,
        channels,
        state,
        num_convs,
        reduction,
        encoder,
        decoder,
        use_arob,
        use_wavelet,
        initialization="uniform",
        **kwargs,
    ):
        if channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (gray) or 3 (RGB), got {channels}. "
                "Drop an alpha channel before restoring the image."
            )
        for side, kind in (("encoder", encoder), ("decoder", decoder)):
            if kind not in BLOCKS:
                raise ValueError(f"`{side}` must be one of {BLOCKS}, got {kind!r}.")
        common = {
            "num_convs": num_convs,
            "reduction": reduction,
            "initialization": initialization,
        }

        def stage(x, s, name, num_blocks, kind):
            """Blocks, then an AROB that takes and gives the state `s`."""
            width = x.shape[-1]
            for i in range(num_blocks if use_arob else num_blocks + 1):
                x = DeformableBlock(width, kind, name=f"{name}_adeb{i}", **common)(x)
            if not use_arob:
                return x, None
            arob = RecurrentOffsetBlock(width, state, s is None, name=f"{name}_arob", **common)
            return arob(x if s is None else [x, s])

        def down(x, step):
            if use_wavelet:
                x = HaarTransform(name=f"haar{step}")(x)
                return conv(
                    filters[step + 1], 3, 4 * filters[step], initialization, name=f"down{step}"
                )(x)
            return keras.layers.Conv2D(
                filters[step + 1],
                2,
                strides=2,
                data_format="channels_last",
                name=f"down{step}",
                **conv_initializers(initialization, 4 * filters[step]),
            )(x)

        def up(x, step):
            if use_wavelet:
                x = conv(4 * filters[step], 3, filters[step + 1], initialization, name=f"up{step}")(
                    x
                )
                return InverseHaarTransform(name=f"inverse_haar{step}")(x)
            return keras.layers.Conv2DTranspose(
                filters[step],
                2,
                strides=2,
                data_format="channels_last",
                name=f"up{step}",
                **conv_initializers(initialization, 4 * filters[step]),
            )(x)

        steps = range(len(filters) - 1)
        degraded = keras.Input((None, None, channels), name="degraded")
        x = conv(filters[0], 3, channels, initialization, name="head")(degraded)
        s, skips = None, []
        for i in steps:
            x, s = stage(x, s, f"enc{i}", encoder_blocks, encoder)
            skips.append(x)
            x = down(x, i)
            s = state_down(s) if use_arob else None
        x, s = stage(x, s, "mid", middle_blocks, encoder)
        for i in reversed(steps):
            x = up(x, i) + skips[i]
            s = state_up(s) if use_arob else None
            x, s = stage(x, s, f"dec{i}", decoder_blocks, decoder)
        tail = conv(channels, 3, filters[0], initialization, name="tail", dtype="float32")
        restored = keras.layers.Add(dtype="float32", name="restored")([degraded, tail(x)])
        super().__init__(degraded, restored, **kwargs)
        self.multiple = self.min_size = 2 ** len(steps)
        # Measured on a CPU in float32: 16,000 bytes for 64 filters at full resolution,
        # most of them the samples of a deformable convolution.
        self.bytes_per_pixel = 250 * filters[0]
        self.filters = tuple(filters)
        self.encoder_blocks = encoder_blocks
        self.middle_blocks = middle_blocks
        self.decoder_blocks = decoder_blocks
        self.channels = channels
        self.state = state
        self.num_convs = num_convs
        self.reduction = reduction
        self.encoder = encoder
        self.decoder = decoder
        self.use_arob = use_arob
        self.use_wavelet = use_wavelet
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "encoder_blocks": self.encoder_blocks,
            "middle_blocks": self.middle_blocks,
            "decoder_blocks": self.decoder_blocks,
            "channels": self.channels,
            "state": self.state,
            "num_convs": self.num_convs,
            "reduction": self.reduction,
            "encoder": self.encoder,
            "decoder": self.decoder,
            "use_arob": self.use_arob,
            "use_wavelet": self.use_wavelet,
            "initialization": self.initialization,
        }
