"""Our classes for `keras.saving.load_model`, without importing Keras or them before.

Keras finds a class of a saved model by the name that it was registered under. It
never imports a module of ours for it, so each name is registered as soon as Keras
is imported, with a stand-in that imports the class when a model asks for it. The
names are read from the text of our modules, so that a new class needs no other line.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "keras_rdanet"
# Where the classes are that a saved model can hold.
PLACES = ("layers", "models", "losses", "keras_metrics", "training")
_REGISTERED = re.compile(
    rf"^@keras\.saving\.register_keras_serializable\(package=\"{PACKAGE}\"\)\nclass (\w+)",
    re.MULTILINE,
)


def classes() -> Iterator[tuple[str, str]]:
    """Yield the module and the name of every class that a saved model can hold."""
    for place in PLACES:
        spec = importlib.util.find_spec(f"{PACKAGE}.{place}")
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        files = sorted(origin.parent.glob("*.py")) if spec.submodule_search_locations else [origin]
        for file in files:
            module = spec.name if file == origin else f"{spec.name}.{file.stem}"
            for name in _REGISTERED.findall(file.read_text(encoding="utf-8")):
                yield module, name


class _StandIn:
    """A stand-in for a class, with which Keras makes objects until the class is imported."""

    def __init__(self, module, name):
        self._module = module
        self.__name__ = name

    def from_config(self, config, **kwargs):
        """Import the class, which registers itself in place of this, and make an object."""
        made_by = getattr(importlib.import_module(self._module), self.__name__)
        return made_by.from_config(config, **kwargs)


class _AfterKeras:
    """A finder of modules that lets Keras be found as always, and adds our names to it."""

    def find_spec(self, name, path=None, target=None):
        """Find Keras by the other finders; nothing else."""
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register(keras):
    known = keras.saving.get_custom_objects()
    for module, name in classes():
        known.setdefault(f"{PACKAGE}>{name}", _StandIn(module, name))


def register() -> None:
    """Register the names of our classes with Keras, now or as soon as it is imported."""
    if "keras" in sys.modules and hasattr(sys.modules["keras"], "saving"):
        _register(sys.modules["keras"])
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())
