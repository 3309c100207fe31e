"""The former name of `keras_rdanet.export.formats.tensorrt`."""

import warnings

from keras_rdanet.export.formats.tensorrt import Profile, write_tensorrt

__all__ = ["Profile", "write_tensorrt"]

warnings.warn(
    "keras_rdanet.export.tensorrt is now keras_rdanet.export.formats.tensorrt.",
    DeprecationWarning,
    stacklevel=2,
)
