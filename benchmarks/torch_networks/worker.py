"""Builds, runs and times one network at a time for `benchmarks/speed.py`, with PyTorch alone.

A line of JSON comes in with `do`, the name of a function below, and its arguments; a line of
JSON goes out.
"""

import importlib
import json
import sys
import time

import numpy as np
import torch

network, optimizer, arrays, clock = None, None, {}, None


def versions():
    """Of PyTorch."""
    return {"torch": torch.__version__}


def build(path, arguments, weights):
    """Build `module:Class` and write its state dict to an `.npz` file."""
    global network, optimizer
    torch.manual_seed(0)
    module, name = path.split(":")
    network = getattr(importlib.import_module(module), name)(**arguments)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # offsets that start at zero would test nothing
                parameter.uniform_(-0.02, 0.02)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    np.savez(weights, **{key: value.numpy() for key, value in network.state_dict().items()})


def load(**files):
    """Read arrays, NHWC, from `.npy` files."""
    for name, path in files.items():
        arrays[name] = torch.from_numpy(np.load(path).transpose(0, 3, 1, 2).copy())


def restore():
    """Seconds of one call without gradients."""
    with torch.no_grad():
        start = clock()
        network(arrays["images"])
        return clock() - start


def output(path):
    """Write what the network makes of the images, NHWC."""
    with torch.no_grad():
        restored = network(arrays["images"])[-1]
    np.save(path, restored.numpy().transpose(0, 2, 3, 1))


def step():
    """Seconds and loss of one training step: L1 on every stage, Adam."""
    start = clock()
    optimizer.zero_grad(set_to_none=True)
    stages = network(arrays["degraded"])
    loss = sum(torch.nn.functional.l1_loss(stage, arrays["target"]) for stage in stages)
    loss.backward()
    optimizer.step()
    return clock() - start, loss.item()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    clock = getattr(time, sys.argv[2])
    functions = {f.__name__: f for f in (versions, build, load, restore, output, step)}
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(functions[command.pop("do")](**command)), flush=True)
