"""TSP-RDANet as plain PyTorch modules, with the names of the original state dict."""

import torch
from torch import nn
from torch.nn import functional

DILATIONS = (1, 2, 3, 4, 3, 2, 1, 1)


class ChannelAttention(nn.Module):
    """CAB."""

    def __init__(self, channels, bias):
        super().__init__()
        hidden = channels // 8
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.conv_du(functional.adaptive_avg_pool2d(x, 1))


class SpatialAttention(nn.Module):
    """SAB, with the ReLU before the sigmoid."""

    def __init__(self):
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": nn.Conv2d(2, 1, 5, padding=2, bias=False)})

    def forward(self, x):
        statistics = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(torch.relu(self.spatial["conv"](statistics)))


class DenseBlock(nn.Module):
    """RDAB and HDRDAB."""

    def __init__(self, width, prefix, dilations, gate, bias):
        super().__init__()
        self.dense = [f"{prefix}{i + 1}" for i in range(8)]
        for i, (name, d) in enumerate(zip(self.dense, dilations, strict=True)):
            conv = nn.Conv2d((i + 1) * width, width, 3, padding=d, dilation=d, bias=bias)
            self.add_module(name, conv)
        self.add_module(
            gate, SpatialAttention() if gate == "sab" else ChannelAttention(9 * width, bias)
        )
        self.gate = gate
        self.conv_tail = nn.Conv2d(9 * width, width, 1, bias=bias)

    def forward(self, x):
        dense = x
        for name in self.dense:
            dense = torch.cat([dense, torch.relu(getattr(self, name)(dense))], 1)
        return x + self.conv_tail(getattr(self, self.gate)(dense))


class Up(nn.Module):
    """Transposed convolution, then zeros to the size of the skip."""

    def __init__(self, width, bias):
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, 2, bias=bias)

    def forward(self, x, skip):
        x = self.up(x)
        rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        return functional.pad(x, (0, columns, 0, rows)) + skip


class TSPRDANet(nn.Module):
    """The two stages; arguments as in `keras_rdanet`."""

    def __init__(self, filters, channels, use_bias, image_residual):
        super().__init__()
        self.image_residual = image_residual
        self.conv_head = nn.Conv2d(channels, filters, 3, padding=1, bias=use_bias)
        self.sab = SpatialAttention()
        self.cab = ChannelAttention(filters, use_bias)
        self.rdab = DenseBlock(filters, "conv", (1,) * 8, "sab", use_bias)
        self.hdrdab = DenseBlock(filters, "dconv", DILATIONS, "cab", use_bias)
        self.down = nn.Conv2d(filters, filters, 2, 2, bias=use_bias)
        self.up = Up(filters, use_bias)
        self.conv_tail = nn.Conv2d(filters, channels, 3, padding=1, bias=use_bias)

    def forward(self, image):
        head = self.conv_head(image)
        a1 = self.rdab(self.sab(head))
        a2 = self.rdab(self.down(a1))
        a3 = self.rdab(self.down(a2))
        a4 = self.rdab(self.up(a3, a2))
        a5 = self.rdab(self.up(a4, a1))
        b1 = self.hdrdab(self.cab(head) + a5)
        b2 = self.hdrdab(b1)
        b3 = self.hdrdab(b2)
        b4 = self.hdrdab(b3 + b2)
        b5 = self.hdrdab(b4 + b1)
        stages = [self.conv_tail(a5 + head), self.conv_tail(b5 + head)]
        return [image + stage for stage in stages] if self.image_residual else stages
