"""Networks that are no larger than the file that asks for them."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras

_patching = threading.RLock()


@contextlib.contextmanager
def made_of(shapes: Iterable[tuple[int, ...]], path: str | Path) -> Iterator[None]:
    """Stop this thread from building a network of other weights, before they take memory.

    A file of weights says which network it is for in a few words. Those cost nothing to write,
    so a network is only built as far as the weights in the file go.

    Args:
        shapes: Shapes of the weights in the file.
        path: The file that asks for the network.

    Raises:
        ValueError: as soon as a layer asks for a weight that is not left among them.
    """
    left = Counter(tuple(shape) for shape in shapes)
    builder = threading.get_ident()

    def add_weight(layer, *args, **kwargs):
        if threading.get_ident() == builder:
            shape = tuple(kwargs.get("shape") or (args[0] if args else ()))
            if not left[shape]:
                raise ValueError(
                    f"{path} does not fit the network that it asks for: {layer.name} takes a "
                    f"weight of the shape {shape}, and no such one is left in the file."
                )
            left[shape] -= 1
        return original(layer, *args, **kwargs)

    # Keras offers no other place to see every weight before it takes memory.
    with _patching:
        original = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = original
