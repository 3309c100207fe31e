"""The formats that networks are exported to: one row each, which loads no framework."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from keras_rdanet.export.formats.base import Format, Variant
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.runtimes.metadata import VARIANTS


def _on_use(name: str) -> Callable[..., Any]:
    """Return a function of a module of this package that is imported when it is called."""
    module, function = name.split(":")

    def call(*arguments):
        return getattr(importlib.import_module(f"{__package__}.{module}"), function)(*arguments)

    return call


_ROWS = (
    Format(
        name="saved_model",
        suffix="",
        variants={"fp32": Variant(Tolerance(0.01, max_abs_error=1e-5))},
        write=_on_use("saved_model:write"),
        inspect=_on_use("saved_model:inspect"),
        marker="saved_model.pb",
    ),
    Format(
        name="onnx",
        suffix=".onnx",
        variants={
            "fp32": Variant(Tolerance(0.01, max_abs_error=1e-4)),
            "int8": Variant(Tolerance(0.3), calibrated=True, fine_tunable=True),
        },
        write=_on_use("onnx:write"),
        inspect=_on_use("onnx:inspect"),
        sidecars=_on_use("tensorrt:write_sidecars"),
    ),
    Format(
        name="tflite",
        suffix=".tflite",
        variants={
            "fp32": Variant(Tolerance(0.01, max_abs_error=1e-4)),
            "fp16": Variant(Tolerance(0.02)),
            "dynamic": Variant(Tolerance(0.1)),
            "int8": Variant(Tolerance(0.3), calibrated=True, fine_tunable=True),
            "int8_uint8": Variant(
                Tolerance(0.3), calibrated=True, fine_tunable=True, takes_samples=True
            ),
            # LiteRT computes it on reference kernels, on one core.
            "int16x8": Variant(Tolerance(0.1), calibrated=True, slow=True),
        },
        write=_on_use("tflite:write"),
        inspect=_on_use("tflite:inspect"),
    ),
)

# Name of a format -> its row, in the order files are made.
FORMATS = {row.name: row for row in _ROWS}


def select(
    formats: Iterable[str] | None = None,
    variants: Iterable[str] | None = None,
    *,
    has_pictures: bool,
    fine_tune: int = 0,
) -> list[tuple[str, str]]:
    """Choose the files to make.

    Args:
        formats: Keys of `FORMATS`; `None` for all that come in one of the variants.
        variants: Keys of `keras_rdanet.runtimes.metadata.VARIANTS`; `None` for all.
        has_pictures: Whether there are pictures to calibrate with.
        fine_tune: Steps of fine-tuning for int8 files that miss their tolerance.

    Returns:
        Pairs of format and variant, in the order they are made.

    Raises:
        ValueError: if a name is unknown, a format has none of the variants, or
            calibration or fine-tuning lacks pictures.
    """
    variants = _known("variants", variants, VARIANTS)
    chosen = _known("formats", formats, FORMATS)
    found = {name: [v for v in FORMATS[name].variants if v in variants] for name in chosen}
    for name in () if formats is None else (name for name in chosen if not found[name]):
        raise ValueError(
            f"{name} comes as {', '.join(FORMATS[name].variants)}; `variants` (--variants) has "
            "none of these."
        )
    wanted = [(name, variant) for name in FORMATS for variant in found.get(name, ())]
    if not has_pictures:
        _check_without_pictures(wanted, fine_tune)
    return wanted


def is_calibrated(format: str, variant: str) -> bool:
    """Whether the ranges of a file are measured on pictures."""
    return FORMATS[format].variants[variant].calibrated


def _known(argument, names, table):
    names = tuple(table if names is None else names)
    for name in names:
        if name not in table:
            raise ValueError(f"`{argument}` must be among {', '.join(table)}; got {name!r}.")
    return names


def _check_without_pictures(wanted, fine_tune):
    calibrated = dict.fromkeys(variant for name, variant in wanted if is_calibrated(name, variant))
    others = [variant for _, variant in wanted if variant not in calibrated]
    if calibrated:
        way_out = f", or leave them out (--variants {','.join(dict.fromkeys(others))})"
        raise ValueError(
            f"{', '.join(calibrated)}: ranges are measured on clean pictures; give a folder of "
            f"them as `calibration` (--calibration){way_out if others else ''}."
        )
    if fine_tune:
        raise ValueError(
            "Fine-tuning learns from clean pictures; give a folder of them as `calibration` "
            "(--calibration)."
        )
