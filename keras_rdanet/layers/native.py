"""The form in which layers run and convert best on TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

_active = ContextVar("native_forms", default=False)


@contextmanager
def native_forms() -> Iterator[None]:
    """Trace layers in the form that runs and converts best on TensorFlow.

    Inside, dilated convolutions are one operation each, where TensorFlow
    surrounds them with `SpaceToBatchND` and `BatchToSpaceND` otherwise;
    changes of size are `DepthToSpace` and `ResizeBilinear`; and no tensor has
    more than four axes, which is what phones and accelerators take. Results
    differ by rounding. The gradient of dilated convolutions on a CPU then
    needs oneDNN, which not every build of TensorFlow has. Other backends are
    not affected.
    """
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def native() -> bool:
    """Whether a layer is called inside `native_forms`, on TensorFlow."""
    return _active.get() and keras.backend.backend() == "tensorflow"
