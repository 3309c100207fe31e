"""The description of an export format. Neither it nor the rows of the table load a framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.open import open_model

if TYPE_CHECKING:
    from keras_rdanet.export.job import ExportJob


@dataclass(frozen=True)
class Variant:
    """One way in which a format stores and computes a network.

    Args:
        tolerance: Limits for the differences between a file and its network.
        calibrated: Whether the ranges of its values are measured on pictures.
        fine_tunable: Whether a file that misses its tolerance may be made
            again from weights that were fine-tuned for eight bits.
        takes_samples: Whether files take and give the samples of 8-bit
            pictures instead of floats.
        slow: Whether a file needs minutes to run on this kind of machine; it
            is then verified in the background.
    """

    tolerance: Tolerance
    calibrated: bool = False
    fine_tunable: bool = False
    takes_samples: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Format:
    """A format that networks are exported to.

    Args:
        name: Name of the format on the command line and in reports.
        suffix: Suffix of its files; `""` if an export is a folder.
        variants: Variants of the format, in the order they are made. Their names are keys of
            `keras_rdanet.runtimes.metadata.VARIANTS`.
        write: Function that writes the variant of a network, `write(job, path, variant)`. It
            raises a `ValueError` if the format cannot hold the network.
        open: Function that opens a file as a function from images to images.
        inspect: Function that returns the fields of a `Report` that describe the content of a
            file: `operations` and `delegate_support`.
        sidecars: Function that writes the sidecars of a published file, `sidecars(job, path,
            variant)`; it returns their names, each with its purpose.
        marker: File that tells an exported folder from any other folder.
    """

    name: str
    suffix: str
    variants: Mapping[str, Variant]
    write: Callable[[ExportJob, Path, str], object]
    open: Callable[[Path], ImageFunction] = open_model
    inspect: Callable[[Path], Mapping[str, Any]] | None = None
    sidecars: Callable[[ExportJob, Path, str], Mapping[str, str]] | None = None
    marker: str = ""

    def file_name(self, variant: str) -> str:
        """Return the name of an exported file, `model_int8.tflite` for example."""
        return f"model_{variant}{self.suffix}" if self.suffix else self.name
