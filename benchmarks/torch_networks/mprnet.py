"""MPRNet as plain PyTorch modules, with the names of the original state dict."""

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate


class ChannelAttention(nn.Module):
    """CALayer."""

    def __init__(self, channels, reduction, bias):
        super().__init__()
        hidden = channels // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.conv_du(adaptive_avg_pool2d(x, 1))


class AttentionBlock(nn.Module):
    """CAB."""

    def __init__(self, width, options):
        super().__init__()
        kernel_size, bias = options["kernel_size"], options["bias"]
        self.body = nn.Sequential(
            nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, bias=bias),
            options["prelu"],
            nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, bias=bias),
        )
        self.CA = ChannelAttention(width, options["reduction"], bias)

    def forward(self, x):
        return x + self.CA(self.body(x))


class Resize(nn.Module):
    """Half or twice the size, then a 1x1 convolution."""

    def __init__(self, channels, filters, factor):
        super().__init__()
        self.factor = factor
        name = "up" if factor > 1 else "down"
        self.name = name
        # A convolution at index 1, as behind an upsampling layer.
        conv = nn.Conv2d(channels, filters, 1, bias=False)
        self.add_module(name, nn.Sequential(nn.Identity(), conv))

    def forward(self, x):
        x = interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return getattr(self, self.name)(x)


def pair(width, options):
    """Two blocks."""
    return nn.Sequential(AttentionBlock(width, options), AttentionBlock(width, options))


class Encoder(nn.Module):
    """Three levels; `csff` for the features of the stage before."""

    def __init__(self, widths, options, csff):
        super().__init__()
        self.csff = csff
        for level, width in enumerate(widths, 1):
            self.add_module(f"encoder_level{level}", pair(width, options))
            for side in ("enc", "dec") if csff else ():
                conv = nn.Conv2d(width, width, 1, bias=options["bias"])
                self.add_module(f"csff_{side}{level}", conv)
        self.down12 = Resize(widths[0], widths[1], 0.5)
        self.down23 = Resize(widths[1], widths[2], 0.5)

    def forward(self, x, encoded=None, decoded=None):
        levels = []
        for level in (1, 2, 3):
            if level > 1:
                x = getattr(self, f"down{level - 1}{level}")(x)
            x = getattr(self, f"encoder_level{level}")(x)
            if self.csff:
                x = x + getattr(self, f"csff_enc{level}")(encoded[level - 1])
                x = x + getattr(self, f"csff_dec{level}")(decoded[level - 1])
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """Three levels."""

    def __init__(self, widths, options):
        super().__init__()
        for level, width in enumerate(widths, 1):
            self.add_module(f"decoder_level{level}", pair(width, options))
        self.skip_attn1 = AttentionBlock(widths[0], options)
        self.skip_attn2 = AttentionBlock(widths[1], options)
        self.up21 = Resize(widths[1], widths[0], 2)
        self.up32 = Resize(widths[2], widths[1], 2)

    def forward(self, levels):
        d3 = self.decoder_level3(levels[2])
        d2 = self.decoder_level2(self.up32(d3) + self.skip_attn2(levels[1]))
        d1 = self.decoder_level1(self.up21(d2) + self.skip_attn1(levels[0]))
        return [d1, d2, d3]


class SupervisedAttention(nn.Module):
    """SAM."""

    def __init__(self, width, channels, bias):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, channels, 1, bias=bias)
        self.conv3 = nn.Conv2d(channels, width, 1, bias=bias)

    def forward(self, x, image):
        image = self.conv2(x) + image
        return self.conv1(x) * torch.sigmoid(self.conv3(image)) + x, image


class ORB(nn.Module):
    """Original resolution block."""

    def __init__(self, width, num_blocks, options):
        super().__init__()
        k = options["kernel_size"]
        blocks = [AttentionBlock(width, options) for _ in range(num_blocks)]
        tail = nn.Conv2d(width, width, k, padding=k // 2, bias=False)
        self.body = nn.Sequential(*blocks, tail)

    def forward(self, x):
        return x + self.body(x)


class ORSNet(nn.Module):
    """Original resolution subnetwork."""

    def __init__(self, widths, width, num_blocks, options):
        super().__init__()
        for level in (1, 2, 3):
            self.add_module(f"orb{level}", ORB(width, num_blocks, options))
        for side in ("enc", "dec"):
            for level in (1, 2, 3):
                conv = nn.Conv2d(widths[0], width, 1, bias=options["bias"])
                self.add_module(f"conv_{side}{level}", conv)
            self.add_module(f"up_{side}1", Resize(widths[1], widths[0], 2))
            twice = [Resize(widths[2], widths[1], 2), Resize(widths[1], widths[0], 2)]
            self.add_module(f"up_{side}2", nn.Sequential(*twice))

    def forward(self, x, encoded, decoded):
        for level in (1, 2, 3):
            x = getattr(self, f"orb{level}")(x)
            for side, levels in (("enc", encoded), ("dec", decoded)):
                y = levels[level - 1]
                if level > 1:
                    y = getattr(self, f"up_{side}{level - 1}")(y)
                x = x + getattr(self, f"conv_{side}{level}")(y)
        return x


class MPRNet(nn.Module):
    """The three stages; arguments as in `keras_rdanet`."""

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
    ):
        super().__init__()
        options = {
            "kernel_size": kernel_size,
            "reduction": reduction,
            "bias": use_bias,
            "prelu": nn.PReLU(),
        }
        widths = [filters + level * unet_growth for level in range(3)]
        width, pad = filters + orsnet_growth, kernel_size // 2

        def conv(before, after):
            return nn.Conv2d(before, after, kernel_size, padding=pad, bias=use_bias)

        for stage in (1, 2, 3):
            shallow = nn.Sequential(conv(channels, filters), AttentionBlock(filters, options))
            self.add_module(f"shallow_feat{stage}", shallow)
        self.stage1_encoder = Encoder(widths, options, csff=False)
        self.stage1_decoder = Decoder(widths, options)
        self.stage2_encoder = Encoder(widths, options, csff=True)
        self.stage2_decoder = Decoder(widths, options)
        self.stage3_orsnet = ORSNet(widths, width, num_blocks, options)
        self.sam12 = SupervisedAttention(filters, channels, use_bias)
        self.sam23 = SupervisedAttention(filters, channels, use_bias)
        self.concat12 = conv(2 * filters, filters)
        self.concat23 = conv(2 * filters, width)
        self.tail = conv(width, channels)

    def forward(self, image):
        halves = image.chunk(2, 2)
        encoded, decoded, attended, first = [], [], [], []
        for half in halves:
            sides = [self.stage1_encoder(self.shallow_feat1(q)) for q in half.chunk(2, 3)]
            joined = [torch.cat(level, 3) for level in zip(*sides, strict=True)]
            encoded.append(joined)
            decoded.append(self.stage1_decoder(joined))
            features, restored = self.sam12(decoded[-1][0], half)
            attended.append(features)
            first.append(restored)

        sides = []
        for i, half in enumerate(halves):
            x = self.concat12(torch.cat([self.shallow_feat2(half), attended[i]], 1))
            sides.append(self.stage2_encoder(x, encoded[i], decoded[i]))
        joined = [torch.cat(level, 2) for level in zip(*sides, strict=True)]
        last = self.stage2_decoder(joined)
        features, second = self.sam23(last[0], image)

        x = self.concat23(torch.cat([self.shallow_feat3(image), features], 1))
        third = self.tail(self.stage3_orsnet(x, joined, last)) + image
        return [torch.cat(first, 2), second, third]
