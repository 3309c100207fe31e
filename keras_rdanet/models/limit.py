"""Networks that are no larger than the file that asks for them."""

import contextlib
import threading
from collections.abc import Iterator
from math import prod
from pathlib import Path

import keras

_patching = threading.RLock()


@contextlib.contextmanager
def at_most(parameters: int, path: str | Path) -> Iterator[None]:
    """Stop this thread from building a network of more parameters, before memory is taken.

    A file of weights says which network it is for in a few words. Those cost nothing to write,
    so a network is only built as far as the weights in the file go.

    Args:
        parameters: Largest number of values in all weights together.
        path: The file that asks for the network.

    Raises:
        ValueError: as soon as a layer asks for a weight beyond that number.
    """
    left = parameters
    builder = threading.get_ident()

    def add_weight(layer, *args, **kwargs):
        nonlocal left
        if threading.get_ident() == builder:
            left -= prod(kwargs.get("shape") or (args[0] if args else ()))
            if left < 0:
                raise ValueError(
                    f"{path} asks for a network of more than the {parameters} parameters that it "
                    "can hold; it is damaged or not what it says."
                )
        return original(layer, *args, **kwargs)

    # Keras offers no other place to see every weight before it takes memory.
    with _patching:
        original = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = original
