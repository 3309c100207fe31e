"""Exported files that are verified to be equal to their network.

The package is also the function `keras_rdanet.export`: Python binds the name of a
package in its parent when it is imported, so a function beside it would be lost.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Export a network; see `keras_rdanet.export.exporter.export`."""
        return importlib.import_module("keras_rdanet.export.exporter").export(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
