"""Gates over channels and over positions."""

import keras
from keras import ops

from keras_rdanet.layers.initializers import conv_initializers


@keras.saving.register_keras_serializable(package="keras_rdanet")
class ChannelAttention(keras.layers.Layer):
    """Scales each channel by a gate made from its global mean.

    Args:
        filters: Channels `c` of the input.
        reduction: The hidden layer has `c // reduction` channels.
        use_bias: Whether the two 1x1 convolutions have biases.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, filters)`. The mean runs over the whole
    height and width, in float32 under every policy: a float16 sum overflows.

    Reference:
        Zhang et al., RCAN, 2018, section 3.3; CAB of TSP-RDANet.
    """

    def __init__(self, filters, reduction, use_bias, initialization="orthogonal", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.reduction = reduction
        self.use_bias = use_bias
        self.initialization = initialization
        hidden = filters // reduction
        self.squeeze = keras.layers.Conv2D(
            hidden,
            1,
            data_format="channels_last",
            activation="relu",
            use_bias=use_bias,
            name="squeeze",
            **conv_initializers(initialization, filters),
        )
        self.excite = keras.layers.Conv2D(
            filters,
            1,
            data_format="channels_last",
            activation="sigmoid",
            use_bias=use_bias,
            name="excite",
            **conv_initializers(initialization, hidden),
        )

    def build(self, input_shape):
        self.squeeze.build((None, 1, 1, self.filters))
        self.excite.build((None, 1, 1, self.squeeze.filters))

    def gate(self, features):
        """The gate, `(B, 1, 1, filters)` in (0, 1)."""
        pooled = ops.mean(ops.cast(features, "float32"), axis=(1, 2), keepdims=True)
        return self.excite(self.squeeze(pooled))

    def call(self, features):
        return features * self.gate(features)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "use_bias": self.use_bias,
            "initialization": self.initialization,
        }


@keras.saving.register_keras_serializable(package="keras_rdanet")
class MaxMeanConvolution(keras.layers.Conv2D):
    """A convolution over the channel maximum and the channel mean of its input.

    Two convolutions of one channel each are added, instead of one
    convolution of both channels: then a quantizer would give the mean the
    range of the maximum.

    Input: `(B, H, W, C)`, any C; output: `(B, H, W, filters)`.
    """

    def build(self, input_shape):
        super().build((*input_shape[:-1], 2))
        self.input_spec = None  # The kernel has two channels, the input any.

    def convolution_op(self, inputs, kernel):
        """Convolve, without the bias."""
        pooled = (ops.max(inputs, -1, keepdims=True), ops.mean(inputs, -1, keepdims=True))
        convolve = super().convolution_op
        return sum(convolve(p, kernel[:, :, i : i + 1]) for i, p in enumerate(pooled))


@keras.saving.register_keras_serializable(package="keras_rdanet")
class SpatialAttention(keras.layers.Layer):
    """Scales each position by a gate made from its channel maximum and mean.

    The gate is `sigmoid(relu(conv([max, mean])))`, hence in [0.5, 1): the
    ReLU is in the original code of TSP-RDANet, not in its text.

    Args:
        kernel_size: Height and width of the kernel; the convolution has no bias.
        initialization: Scheme for the initial weights, see `conv_initializers`.

    Input and output: `(B, H, W, C)`, any C.

    Reference:
        Woo et al., CBAM, 2018, section 3; SAB of TSP-RDANet.
    """

    def __init__(self, kernel_size=5, initialization="orthogonal", **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.initialization = initialization
        self.conv = MaxMeanConvolution(
            1,
            kernel_size,
            padding="same",
            data_format="channels_last",
            activation="relu",
            use_bias=False,
            name="conv",
            **conv_initializers(initialization, 2 * kernel_size**2),
        )

    def build(self, input_shape):
        self.conv.build(input_shape)

    def logit(self, features):
        """The input of the sigmoid, `(B, H, W, 1)`, not negative."""
        return self.conv(features)

    def call(self, features):
        return features * ops.sigmoid(self.logit(features))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "initialization": self.initialization,
        }
