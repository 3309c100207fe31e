"""PANet and PA-EDSR as plain PyTorch modules, with the names of the original state dicts."""

import torch
from torch import nn
from torch.nn.functional import fold, interpolate, normalize, unfold


def conv(channels, filters, size=3):
    """A convolution that keeps the size."""
    return nn.Conv2d(channels, filters, size, padding=size // 2)


class PyramidAttention(nn.Module):
    """All scores of an image at once."""

    def __init__(self, width, reduction, identity_scale):
        super().__init__()
        self.identity_scale = identity_scale
        self.conv_match_L_base = nn.Sequential(conv(width, width // reduction, 1), nn.PReLU())
        self.conv_match = nn.Sequential(conv(width, width // reduction, 1), nn.PReLU())
        self.conv_assembly = nn.Sequential(conv(width, width, 1), nn.PReLU())

    def forward(self, x):
        queries = unfold(self.conv_match_L_base(x), 3, padding=1)
        keys, values = [], []
        for i in range(5):
            copy = x
            if i:
                copy = interpolate(x, scale_factor=1 - i / 10, mode="bicubic", align_corners=False)
            keys.append(unfold(self.conv_match(copy), 3, padding=1))
            values.append(unfold(self.conv_assembly(copy), 3, padding=1))
        keys = normalize(torch.cat(keys, 2), dim=1, eps=1e-4)
        weights = torch.softmax(10 * queries.transpose(1, 2) @ keys, 2)
        patches = torch.cat(values, 2) @ weights.transpose(1, 2)
        attended = fold(patches, x.shape[2:], 3, padding=1) / 4
        return attended + self.identity_scale * x


class Block(nn.Module):
    """Residual block."""

    def __init__(self, width, activation, res_scale):
        super().__init__()
        self.body = nn.Sequential(conv(width, width), activation, conv(width, width))
        self.res_scale = res_scale

    def forward(self, x):
        y = self.body(x)
        return x + (y if self.res_scale == 1 else self.res_scale * y)


def trunk(width, num_blocks, activation, res_scale, attention):
    """Blocks, the attention halfway, a convolution."""
    blocks = [Block(width, activation, res_scale) for _ in range(num_blocks)]
    blocks.insert(num_blocks // 2, attention)
    return nn.Sequential(*blocks, conv(width, width))


class PANet(nn.Module):
    """Arguments as in `keras_rdanet`."""

    def __init__(
        self, filters, num_blocks, channels, reduction, res_scale, shared_prelu, resize_mode
    ):
        super().__init__()
        if not shared_prelu or resize_mode != "scale_factor":
            raise ValueError("only the network of today's PyTorch is here")
        self.head = nn.Sequential(conv(channels, filters))
        attention = PyramidAttention(filters, reduction, 1)
        self.body = trunk(filters, num_blocks, nn.PReLU(), res_scale, attention)
        self.tail = nn.Sequential(conv(filters, channels))

    def forward(self, image):
        x = self.head(image)
        return [self.tail(self.body(x) + x)]


class PAEDSR(nn.Module):
    """Arguments as in `keras_rdanet`."""

    def __init__(self, filters, num_blocks, scale, reduction, res_scale, resize_mode):
        super().__init__()
        if resize_mode != "scale_factor":
            raise ValueError("only the network of today's PyTorch is here")
        mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.head = nn.Sequential(conv(3, filters))
        attention = PyramidAttention(filters, reduction, res_scale)
        self.body = trunk(filters, num_blocks, nn.ReLU(inplace=True), res_scale, attention)
        ups = []
        for factor in (2, 2) if scale == 4 else (scale,):
            ups += [conv(filters, factor**2 * filters), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*ups), conv(filters, 3))

    def forward(self, image):
        x = self.head(image - self.mean)
        return [self.tail(self.body(x) + x) + self.mean]
