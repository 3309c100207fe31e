"""MPRNet: two U-Nets on quarters and halves of the image, then a stage at full resolution."""

import keras
from keras import ops

from keras_rdanet.layers.attention import ChannelAttention
from keras_rdanet.layers.convolution import conv
from keras_rdanet.layers.resampling import BilinearUpsampling
from keras_rdanet.models.base import RestorationModel

# Halving the image for the patches of stage 1 and twice in its U-Net.
MULTIPLE = 8


@keras.saving.register_keras_serializable(package="keras_rdanet")
class Fold(keras.layers.Layer):
    """Cuts one axis in half and joins the halves along another.

    From rows or columns to the batch it makes patches, all first halves
    before all second ones; from the batch it puts them together again.

    Args:
        source: Axis to cut, `0` for the batch, `1` for rows, `2` for columns.
        target: Axis to join the halves along.

    Input: `(B, H, W, C)`; rows and columns that are cut are multiples of 8.
    Output: the same with `source` half and `target` twice as long.

    Raises:
        ValueError: if rows or columns to cut are no multiple of 8.
    """

    def __init__(self, source, target, **kwargs):
        super().__init__(**kwargs)
        self.source = source
        self.target = target

    def call(self, images):
        size = images.shape[self.source]
        if self.source and size is not None and size % MULTIPLE:
            raise ValueError(
                f"MPRNet takes heights and widths that are multiples of {MULTIPLE}, got {size}; "
                "`Restorer` pads other images."
            )
        return ops.concatenate(ops.split(images, 2, axis=self.source), self.target)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        if shape[self.source] is not None:
            shape[self.source] //= 2
        if shape[self.target] is not None:
            shape[self.target] *= 2
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "source": self.source, "target": self.target}


class _Blocks:
    """The blocks of the paper as functions on symbolic tensors, which own their layers by name.

    Every block but the image parts is called once: patches share weights by
    lying side by side in the batch.
    """

    def __init__(self, widths, kernel_size, reduction, use_bias, initialization):
        self.widths = widths
        self.kernel_size = kernel_size
        self.reduction = reduction
        self.use_bias = use_bias
        self.initialization = initialization
        slope = keras.initializers.Constant(0.25)
        self.prelu = keras.layers.PReLU(slope, shared_axes=[1, 2, 3], name="prelu")
        self.downsample = keras.layers.AveragePooling2D(
            2, data_format="channels_last", name="downsample"
        )
        self.upsample = BilinearUpsampling(name="upsample")

    def conv(self, x, filters, name, kernel_size=None, **options):
        options = {"use_bias": self.use_bias, **options}
        size = kernel_size or self.kernel_size
        return conv(filters, size, x.shape[-1], self.initialization, name=name, **options)(x)

    def cab(self, x, name):
        """Channel attention block; `body` and the attention are those of RCAN."""
        width = x.shape[-1]
        y = self.prelu(self.conv(x, width, f"{name}_conv1"))
        y = self.conv(y, width, f"{name}_conv2")
        y = ChannelAttention(
            width, self.reduction, self.use_bias, self.initialization, name=f"{name}_attention"
        )(y)
        return keras.layers.Add(name=name)([x, y])

    def cabs(self, x, count, name):
        for i in range(count):
            x = self.cab(x, f"{name}_cab{i}")
        return x

    def shallow(self, image, name):
        return self.cab(self.conv(image, self.widths[0], f"{name}_0"), f"{name}_1_cab")

    def up(self, x, filters, name):
        """Twice the size; the convolution comes first, with the same result in a quarter of it."""
        return self.upsample(self.conv(x, filters, name, 1, use_bias=False))

    def encoder(self, x, name, previous=()):
        """Features at three levels; `previous` are lists of them of the stage before."""
        levels: list = []
        for level, width in enumerate(self.widths, 1):
            if levels:
                down = f"{name}_down{level - 1}{level}"
                x = self.conv(self.downsample(x), width, down, 1, use_bias=False)
            x = self.cabs(x, 2, f"{name}_level{level}")
            if previous:
                fused = [
                    self.conv(features[level - 1], width, f"{name}_csff_{side}{level}", 1)
                    for side, features in zip(("enc", "dec"), previous, strict=True)
                ]
                x = keras.layers.Add(name=f"{name}_level{level}")([x, *fused])
            levels.append(x)
        return levels

    def decoder(self, levels, name):
        """The features of the decoder at three levels, the full size first."""
        x = self.cabs(levels[2], 2, f"{name}_level3")
        decoded = [x]
        for level in (2, 1):
            x = self.up(x, self.widths[level - 1], f"{name}_up{level + 1}{level}")
            skip = self.cab(levels[level - 1], f"{name}_skip_attn{level}_cab")
            x = self.cabs(x + skip, 2, f"{name}_level{level}")
            decoded = [x, *decoded]
        return decoded

    def sam(self, x, image, name):
        """Supervised attention: features for the next stage, and the image of this one."""
        # float16 is spaced 2**-11 just below white, an eighth of a gray
        # level, so what makes the image leaves mixed precision.
        residual = self.conv(x, image.shape[-1], f"{name}_conv2", 1, dtype="float32")
        image = keras.layers.Add(dtype="float32", name=f"{name}_image")([residual, image])
        gate = self.conv(image, x.shape[-1], f"{name}_conv3", 1, activation="sigmoid")
        attended = self.conv(x, x.shape[-1], f"{name}_conv1", 1) * gate
        return keras.layers.Add(name=name)([attended, x]), image

    def orb(self, x, num_blocks, name):
        """Original resolution block."""
        y = self.cabs(x, num_blocks, name)
        y = self.conv(y, x.shape[-1], f"{name}_tail", use_bias=False)
        return keras.layers.Add(name=name)([x, y])

    def orsnet(self, x, encoded, decoded, num_blocks, name):
        """Original resolution subnetwork, which each level of stage 2 is added to."""
        width = x.shape[-1]
        for level in (1, 2, 3):
            x = self.orb(x, num_blocks, f"{name}_orb{level}")
            sides = []
            for side, levels in (("enc", encoded), ("dec", decoded)):
                y = levels[level - 1]
                if level == 2:
                    y = self.up(y, self.widths[0], f"{name}_up_{side}1")
                elif level == 3:
                    y = self.up(y, self.widths[1], f"{name}_up_{side}2_0")
                    y = self.up(y, self.widths[0], f"{name}_up_{side}2_1")
                sides.append(self.conv(y, width, f"{name}_conv_{side}{level}", 1))
            x = keras.layers.Add(name=f"{name}_{level}")([x, *sides])
        return x


@keras.saving.register_keras_serializable(package="keras_rdanet")
class MPRNet(RestorationModel):
    """Multi-stage progressive restoration network.

    Stage 1 works on the four quarters of the image, stage 2 on its upper and
    lower half, stage 3 on the whole. Zero padding and global means act on
    each patch alone, so the result depends on where an image is cut.

    Args:
        channels: `1` for gray images, `3` for RGB.
        filters: Width of the features at full resolution (the paper's
            `n_feat`), at least `reduction`.
        unet_growth: Number of channels that each lower level of the U-Nets adds
            (`scale_unetfeats`).
        orsnet_growth: Number of channels that stage 3 adds (`scale_orsnetfeats`).
        num_blocks: Channel attention blocks in each of the three original
            resolution blocks (`num_cab`).
        kernel_size: Kernel size of all convolutions that are not 1x1, an odd
            number.
        reduction: Factor by which the channel attention narrows its input.
        use_bias: Whether convolutions have biases; those of a change of size
            and the last of an original resolution block never have.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input: `(B, H, W, channels)`, float in `[0, 1]`; `H` and `W` are multiples
    of 8. Pad other sizes by reflection at the bottom and right, as
    `Restorer` does.
    Output: `{"stage1": ..., "stage2": ..., "stage3": ...}`, the size of the
    input, float32, not clipped; the last is the restored image.

    Raises:
        ValueError: if an argument is outside the values above.

    Reference:
        Zamir et al., Multi-Stage Progressive Image Restoration, CVPR 2021,
        section 3. As in the authors' code one slope serves all PReLUs. Their
        supervised attention has 3 image channels, ours `channels`.
    """

    PRESETS = {
        f"mprnet_{task}": {
            "channels": 3,
            "filters": filters,
            "unet_growth": unet_growth,
            "orsnet_growth": orsnet_growth,
            "num_blocks": 8,
            "kernel_size": 3,
            "reduction": 4,
            "use_bias": False,
        }
        for task, filters, unet_growth, orsnet_growth in (
            ("denoise", 80, 48, 32),
            ("deblur", 96, 48, 32),
            ("derain", 40, 20, 16),
        )
    }
    SMALL = {
        **PRESETS["mprnet_derain"],
        "filters": 12,
        "unet_growth": 4,
        "orsnet_growth": 4,
        "num_blocks": 1,
    }
    support = "global_pool"
    multiple = MULTIPLE
    min_size = MULTIPLE

    def __init__(
        self,
        channels,
        filters,
        unet_growth,
        orsnet_growth,
        num_blocks,
        kernel_size,
        reduction,
        use_bias,
        initialization="uniform",
        **kwargs,
    ):
        if channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (gray) or 3 (RGB), got {channels}. "
                "Drop an alpha channel before restoring the image."
            )
        if filters < reduction:
            raise ValueError(f"`filters` must be at least `reduction`, {reduction}, got {filters}.")
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {kernel_size}.")
        widths = [filters + level * unet_growth for level in range(3)]
        blocks = _Blocks(widths, kernel_size, reduction, use_bias, initialization)

        degraded = keras.Input((None, None, channels), name="degraded")
        halves = Fold(1, 0, dtype="float32", name="halves")(degraded)
        quarters = Fold(2, 0, dtype="float32", name="quarters")(halves)

        features = blocks.shallow(quarters, "shallow_feat1")
        encoded = blocks.encoder(features, "stage1_encoder")
        encoded = [Fold(0, 2, name=f"stage1_join{i + 1}")(x) for i, x in enumerate(encoded)]
        decoded = blocks.decoder(encoded, "stage1_decoder")
        attended, image = blocks.sam(decoded[0], halves, "sam12")
        stage1 = Fold(0, 1, dtype="float32", name="stage1")(image)

        features = blocks.shallow(halves, "shallow_feat2")
        features = keras.layers.Concatenate(name="concat12_input")([features, attended])
        features = blocks.conv(features, filters, "concat12")
        encoded = blocks.encoder(features, "stage2_encoder", previous=(encoded, decoded))
        encoded = [Fold(0, 1, name=f"stage2_join{i + 1}")(x) for i, x in enumerate(encoded)]
        decoded = blocks.decoder(encoded, "stage2_decoder")
        attended, stage2 = blocks.sam(decoded[0], degraded, "sam23")

        features = blocks.shallow(degraded, "shallow_feat3")
        features = keras.layers.Concatenate(name="concat23_input")([features, attended])
        features = blocks.conv(features, filters + orsnet_growth, "concat23")
        features = blocks.orsnet(features, encoded, decoded, num_blocks, "stage3_orsnet")
        residual = blocks.conv(features, channels, "tail", dtype="float32")
        stage3 = keras.layers.Add(dtype="float32", name="stage3")([residual, degraded])

        outputs = {"stage1": stage1, "stage2": stage2, "stage3": stage3}
        super().__init__(degraded, outputs, **kwargs)
        # Measured on a CPU in float32: 3,300 to 4,900 bytes for 40 filters, 6,500 to 7,600 for 80.
        self.bytes_per_pixel = 100 * filters
        self.channels = channels
        self.filters = filters
        self.unet_growth = unet_growth
        self.orsnet_growth = orsnet_growth
        self.num_blocks = num_blocks
        self.kernel_size = kernel_size
        self.reduction = reduction
        self.use_bias = use_bias
        self.initialization = initialization

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "filters": self.filters,
            "unet_growth": self.unet_growth,
            "orsnet_growth": self.orsnet_growth,
            "num_blocks": self.num_blocks,
            "kernel_size": self.kernel_size,
            "reduction": self.reduction,
            "use_bias": self.use_bias,
            "initialization": self.initialization,
        }
