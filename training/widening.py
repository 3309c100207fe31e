"""Starting a wide network from a trained narrow one."""

import keras
import numpy as np


def widen(narrow: keras.Model, wide: keras.Model, seed: int) -> None:
    """Give `wide` weights that compute what `narrow` computes.

    Every channel of the narrow network becomes a run of equal channels; what
    reads them divides its weights among the run in random shares, so that the
    copies receive different gradients and part ways in training. Sums, means
    and maxima over channels and concatenations keep their values.

    Args:
        narrow: A trained network.
        wide: The same network with a multiple of its width; its weights are replaced.
        seed: Seed of the random shares.

    Raises:
        ValueError: if the two differ in more than a whole multiple of the width.

    Reference:
        Chen, Goodfellow, Shlens, Net2Net, 2016, section 2.3 (Net2WiderNet),
        with the channels repeated in order instead of drawn.
    """
    random = np.random.default_rng(seed)
    sources = {variable.path: np.asarray(variable) for variable in narrow.variables}
    targets = {variable.path: variable for variable in wide.variables}
    if sources.keys() != targets.keys():
        raise ValueError(
            f"{wide.name} has other layers than {narrow.name}; it cannot start from it."
        )
    colors = [network.input_shape[-1] for network in (narrow, wide)]
    if colors[0] != colors[1]:
        raise ValueError(
            f"{narrow.name} takes images of {colors[0]} channels and {wide.name} of {colors[1]}; "
            "widen a network of as many."
        )
    transposed = {
        layer.kernel.path
        for layer in wide._flatten_layers()
        if isinstance(layer, keras.layers.Conv2DTranspose)
    }
    values = {
        path: _repeat(sources[path], tuple(variable.shape), path in transposed, path, random)
        for path, variable in targets.items()
    }
    for path, variable in targets.items():
        variable.assign(values[path])


def _repeat(values, shape, is_transposed, path, random):
    if any(new % old for new, old in zip(shape, values.shape, strict=True)):
        raise ValueError(f"{path}: {values.shape} cannot be widened to {shape}.")
    factors = [new // old for new, old in zip(shape, values.shape, strict=True)]
    for axis, factor in enumerate(factors):
        values = np.repeat(values, factor, axis=axis)
    if values.ndim < 2:
        return values  # a bias, or a slope
    inputs = values.ndim - (1 if is_transposed else 2)
    runs = np.moveaxis(values, inputs, 0)
    runs = runs.reshape(-1, factors[inputs], *runs.shape[1:])
    shares = random.uniform(0.5, 1.5, runs.shape)
    runs = runs * shares / shares.sum(axis=1, keepdims=True)
    return np.moveaxis(runs.reshape(-1, *runs.shape[2:]), 0, inputs)
