"""Image restoration with residual dense attention networks in Keras 3.

The public names resolve on first use, so importing this package loads neither
Keras nor TensorFlow.
"""

import importlib
from importlib.metadata import version

__version__ = version("keras-rdanet")

_PUBLIC = {
    "Restorer": "keras_rdanet.inference.restorer",
    "list_models": "keras_rdanet.weights.catalogue",
}

__all__ = ["Restorer", "__version__", "list_models"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted(__all__)
