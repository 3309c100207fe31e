"""Image restoration with residual dense attention networks in Keras 3.

The public names resolve on first use, so importing this package loads neither
Keras nor TensorFlow nor NumPy.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING

from keras_rdanet import registration

if TYPE_CHECKING:
    from keras_rdanet import losses, metrics, tasks
    from keras_rdanet.api import (
        convert,
        create_model,
        dataset,
        evaluate,
        restore_file,
        restore_folder,
        save_weights,
    )
    from keras_rdanet.export.exporter import export
    from keras_rdanet.inference.restorer import Restorer
    from keras_rdanet.weights.catalogue import list_models

__version__ = version("keras-rdanet")

# Name -> the module that defines it. A name that is a module itself is public as a module;
# the module `export` can be called.
_PUBLIC = {
    "Restorer": "keras_rdanet.inference.restorer",
    "convert": "keras_rdanet.api",
    "create_model": "keras_rdanet.api",
    "dataset": "keras_rdanet.api",
    "evaluate": "keras_rdanet.api",
    "export": "keras_rdanet.export",
    "list_models": "keras_rdanet.weights.catalogue",
    "losses": "keras_rdanet.losses",
    "metrics": "keras_rdanet.metrics",
    "restore_file": "keras_rdanet.api",
    "restore_folder": "keras_rdanet.api",
    "save_weights": "keras_rdanet.api",
    "tasks": "keras_rdanet.tasks",
}

__all__ = [
    "Restorer",
    "__version__",
    "convert",
    "create_model",
    "dataset",
    "evaluate",
    "export",
    "list_models",
    "losses",
    "metrics",
    "restore_file",
    "restore_folder",
    "save_weights",
    "tasks",
]

registration.register()


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"{__name__}.{name}" else getattr(module, name)


def __dir__():
    return sorted(__all__)
