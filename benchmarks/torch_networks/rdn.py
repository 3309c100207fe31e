"""RDN as plain PyTorch modules, with the names of the notebook's state dict."""

import torch
from torch import nn

STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}


class DenseLayer(nn.Module):
    """One 3x3 convolution of a block."""

    def __init__(self, channels, growth_rate):
        super().__init__()
        self.conv = nn.Conv2d(channels, growth_rate, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, torch.relu(self.conv(x))], 1)


class ResidualDenseBlock(nn.Module):
    """RDB."""

    def __init__(self, filters, growth_rate, num_layers):
        super().__init__()
        widths = [filters + i * growth_rate for i in range(num_layers + 1)]
        self.dense_layers = nn.Sequential(*[DenseLayer(w, growth_rate) for w in widths[:-1]])
        self.local_feature_fusion = nn.Conv2d(widths[-1], filters, 1)

    def forward(self, x):
        return x + self.local_feature_fusion(self.dense_layers(x))


class RDN(nn.Module):
    """Arguments as in `keras_rdanet`."""

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
    ):
        super().__init__()
        pad = kernel_size // 2
        self.predicts_noise = predicts_noise
        self.outer_shallow_features = nn.Conv2d(channels, filters, kernel_size, padding=pad)
        self.inner_shallow_features = nn.Conv2d(filters, filters, kernel_size, padding=pad)
        self.residual_dense_blocks = nn.ModuleList(
            ResidualDenseBlock(filters, growth_rate, num_layers) for _ in range(num_blocks)
        )
        self.global_feature_fusion = nn.Sequential(
            nn.Conv2d(num_blocks * filters, filters, 1), nn.Conv2d(filters, filters, 3, padding=1)
        )
        for i, step in enumerate(STEPS[scale]):
            conv = nn.Conv2d(filters, step**2 * filters, 3, padding=1)
            self.add_module(f"upsampling_{i}", conv)
        self.steps = STEPS[scale]
        self.output = nn.Conv2d(filters, channels, kernel_size, padding=pad)

    def forward(self, image):
        shallow = self.outer_shallow_features(image)
        x = self.inner_shallow_features(shallow)
        blocks = []
        for block in self.residual_dense_blocks:
            x = block(x)
            blocks.append(x)
        x = self.global_feature_fusion(torch.cat(blocks, 1)) + shallow
        for i, step in enumerate(self.steps):
            x = nn.functional.pixel_shuffle(getattr(self, f"upsampling_{i}")(x), step)
        x = self.output(x)
        return [image - x if self.predicts_noise else x]
