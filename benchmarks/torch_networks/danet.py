"""DANet as plain PyTorch modules, named as in the tables of `keras_rdanet.weights`."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, grid_sample, interpolate


def conv(channels, filters, size=3):
    """A convolution that keeps the size."""
    return nn.Conv2d(channels, filters, size, padding=size // 2)


class DeformableConv(nn.Module):
    """Modulated deformable convolution; PyTorch has `grid_sample` for the samples."""

    def __init__(self, channels, filters):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(filters))
        nn.init.uniform_(self.weight, -((9 * channels) ** -0.5), (9 * channels) ** -0.5)

    def forward(self, x, steering):
        batch, channels, height, width = x.shape
        rows, columns = steering[:, 0:18:2], steering[:, 1:18:2]
        tap = torch.arange(9)
        rows = rows + (tap // 3 - 1)[:, None, None] + torch.arange(height)[:, None]
        columns = columns + (tap % 3 - 1)[:, None, None] + torch.arange(width)
        # From pixels to the coordinates of `grid_sample`, -1 to 1 from edge to edge.
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
        grid = grid.reshape(batch, 9 * height, width, 2)
        samples = grid_sample(x, grid, padding_mode="zeros", align_corners=False)
        samples = samples.reshape(batch, channels, 9, height, width)
        samples = samples * torch.sigmoid(steering[:, 18:])[:, None]
        samples = samples.reshape(batch, 9 * channels, height, width)
        return conv2d(samples, self.weight.reshape(len(self.weight), -1, 1, 1), self.bias)


class DualAttention(nn.Module):
    """DAM."""

    def __init__(self, width, reduction):
        super().__init__()
        hidden = max(1, width // reduction)
        self.ca_reduce = conv(width, hidden, 1)
        self.ca_expand = conv(hidden, width, 1)
        self.sa_max = conv(1, 1)
        self.sa_avg = conv(1, 1)
        self.sa_fuse = conv(2, 1, 7)
        self.merge = conv(2 * width, width, 1)

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True)
        ca = torch.sigmoid(self.ca_expand(torch.relu(self.ca_reduce(pooled))))
        largest, mean = self.sa_max(x.amax(1, keepdim=True)), self.sa_avg(x.mean(1, keepdim=True))
        sa = torch.sigmoid(self.sa_fuse(torch.cat([largest, mean], 1)))
        return self.merge(torch.cat([x * ca, x * sa], 1))


class Block(nn.Module):
    """A block of any kind; an AROB with `state`."""

    def __init__(self, width, kind, num_convs, reduction, state=None, first=False):
        super().__init__()
        self.kind, self.state, self.first = kind, state, first
        if kind == "plain":
            self.conv_in = conv(width, width)
        else:
            self.deform = DeformableConv(width, width)
            self.offset = conv(state or width, 27)
            nn.init.zeros_(self.offset.weight)
            nn.init.zeros_(self.offset.bias)
        self.convs = nn.ModuleList(conv(width, width) for _ in range(num_convs))
        if kind == "adeb":
            self.dam = DualAttention(width, reduction)
        if state:
            self.state_in = conv(width, state)
            if not first:
                self.state_mix = conv(2 * state, state)
            self.state_out = conv(state, state)
            self.state_dam = DualAttention(state, reduction)

    def forward(self, x, state=None):
        steered_by = x
        if self.state:
            own = torch.relu(self.state_in(x))
            if not self.first:
                own = torch.relu(self.state_mix(torch.cat([own, state], 1)))
            own = self.state_out(own)
            steered_by = state = own + self.state_dam(own)
        y = self.conv_in(x) if self.kind == "plain" else self.deform(x, self.offset(steered_by))
        for layer in self.convs:
            y = layer(torch.relu(y))
        y = x + y
        return (y + self.dam(y) if self.kind == "adeb" else y), state


class Stage(nn.Module):
    """Blocks, the last of them an AROB."""

    def __init__(self, width, kind, num_blocks, use_arob, first, state, **options):
        super().__init__()
        blocks = num_blocks + (not use_arob)
        self.adeb = nn.ModuleList(Block(width, kind, **options) for _ in range(blocks))
        self.arob = Block(width, "adeb", state=state, first=first, **options) if use_arob else None

    def forward(self, x, state):
        for block in self.adeb:
            x, _ = block(x)
        return self.arob(x, state) if self.arob else (x, None)


def haar(x):
    """Half the size, four bands."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, b + d - a - c, c + d - a - b, a + d - b - c], 1) / 2


def inverse_haar(x):
    """Undoes `haar`."""
    ll, hl, lh, hh = (x / 2).chunk(4, 1)
    batch, channels, height, width = ll.shape
    y = x.new_empty(batch, channels, 2 * height, 2 * width)
    y[..., 0::2, 0::2] = ll - hl - lh + hh
    y[..., 0::2, 1::2] = ll + hl - lh - hh
    y[..., 1::2, 0::2] = ll - hl + lh - hh
    y[..., 1::2, 1::2] = ll + hl + lh + hh
    return y


class DANet(nn.Module):
    """Arguments as in `keras_rdanet`."""

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
    ):
        super().__init__()
        if not use_wavelet:
            raise ValueError("only the network with wavelets is here")
        options = {
            "use_arob": use_arob,
            "state": state,
            "num_convs": num_convs,
            "reduction": reduction,
        }

        def stages(kind, num_blocks, first=None):
            return [Stage(w, kind, num_blocks, first=w == first, **options) for w in filters]

        steps = list(pairwise(filters))
        self.head = conv(channels, filters[0])
        self.enc = nn.ModuleList(stages(encoder, encoder_blocks, filters[0])[:-1])
        self.mid = stages(encoder, middle_blocks)[-1]
        self.dec = nn.ModuleList(stages(decoder, decoder_blocks)[:-1])
        self.down = nn.ModuleList(conv(4 * here, below) for here, below in steps)
        self.up = nn.ModuleList(conv(below, 4 * here) for here, below in steps)
        self.tail = conv(filters[0], channels)

    def forward(self, image):
        x, state, skips = self.head(image), None, []
        for stage, down in zip(self.enc, self.down, strict=True):
            x, state = stage(x, state)
            skips.append(x)
            x = down(haar(x))
            state = state if state is None else 0.5 * avg_pool2d(state, 2)
        x, state = self.mid(x, state)
        for i in reversed(range(len(skips))):
            x = inverse_haar(self.up[i](x)) + skips[i]
            if state is not None:
                state = 2 * interpolate(state, scale_factor=2, mode="bilinear", align_corners=False)
            x, state = self.dec[i](x, state)
        return [image + self.tail(x)]
