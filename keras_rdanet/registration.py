"""Our classes for `keras.saving.load_model`, without importing Keras or them before.

Keras finds a class of a saved model by the name that it was registered under. It
never imports a module of ours for it, so each name is registered as soon as Keras
is imported, with a stand-in that imports the class when a model asks for it.
"""

import importlib
import sys

PACKAGE = "keras_rdanet"
# Module -> the classes in it that a saved model can hold.
CLASSES = {
    "layers.attention": ("ChannelAttention", "MaxMeanConvolution", "SpatialAttention"),
    "layers.convolution": ("Convolution",),
    "layers.deformable": ("DeformableConv2D",),
    "layers.pyramid_attention": ("PyramidAttention",),
    "layers.resampling": ("BilinearUpsampling", "PadTo", "PixelShuffle"),
    "layers.wavelet": ("HaarTransform", "InverseHaarTransform"),
    "keras_metrics": ("PSNR",),
    "losses": ("Charbonnier", "RestorationLoss"),
    "models.danet": ("DANet", "DeformableBlock", "DualAttention", "RecurrentOffsetBlock"),
    "models.mprnet": ("Fold", "MPRNet"),
    "models.panet": ("PAEDSR", "PANet"),
    "models.rdn": ("RDN", "ResidualDenseBlock"),
    "models.tsp_rdanet": ("DenseAttentionBlock", "TSPRDANet"),
    "training.optimizers": ("Adam", "AdamW", "L2Adam"),
    "training.schedules": ("CosineWithWarmup", "MultiStep"),
}


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
    for module, names in CLASSES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", _StandIn(f"{PACKAGE}.{module}", name))


def register() -> None:
    """Register the names of our classes with Keras, now or as soon as it is imported."""
    if "keras" in sys.modules and hasattr(sys.modules["keras"], "saving"):
        _register(sys.modules["keras"])
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())
