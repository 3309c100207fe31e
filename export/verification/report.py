"""What proves an exported file: the gates it has to pass, and a report for people and programs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_rdanet.evaluation.report import cell, markdown_table
from keras_rdanet.export.verification.comparison import Parity, Reference
from keras_rdanet.files import write_json, write_text
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.image.sheets import side_by_side
from keras_rdanet.profiling import environment
from keras_rdanet.runtimes.metadata import ExportMetadata


@dataclass(frozen=True)
class Gate:
    """What a file may differ from its network in float32.

    Args:
        psnr_loss: In dB, on pictures.
        max_abs_error: Of an output value, white is 1; `None` for no limit.
    """

    psnr_loss: float
    max_abs_error: float | None = None


# A file that misses its gate is not published.
GATES = {
    ("saved_model", "fp32"): Gate(psnr_loss=0.01, max_abs_error=1e-5),
    ("onnx", "fp32"): Gate(psnr_loss=0.01, max_abs_error=1e-4),
    ("onnx", "int8"): Gate(psnr_loss=0.3),
    ("tflite", "fp32"): Gate(psnr_loss=0.01, max_abs_error=1e-4),
    ("tflite", "fp16"): Gate(psnr_loss=0.02),
    ("tflite", "dynamic"): Gate(psnr_loss=0.1),
    ("tflite", "int8"): Gate(psnr_loss=0.3),
    ("tflite", "int8_uint8"): Gate(psnr_loss=0.3),
    ("tflite", "int16x8"): Gate(psnr_loss=0.1),
}


@dataclass(frozen=True)
class Report:
    """An exported file and what was found out about it.

    Args:
        file: Its name.
        format: `"saved_model"`, `"tflite"` or `"onnx"`.
        variant: See `export.metadata.VARIANTS`.
        metadata: What the file says about itself, `None` if there is none.
        bytes: Its size.
        sha256: Its hash.
        protocol: How the pictures were degraded and scored.
        parity: What was measured, `None` if it could not be made.
        audit: What the file consists of, and what speaks against using it
            where: operations and their number, and lines for each target.
        failures: Why it should not be published; empty for a good file.
        loss_before: Of a file from fine-tuned weights, the dB that was lost without.
        companions: Names of the files beside it that make a TensorRT engine of it.
    """

    file: str
    format: str
    variant: str
    metadata: ExportMetadata | None = None
    bytes: int = 0
    sha256: str | None = None
    protocol: Mapping | None = None
    parity: Parity | None = None
    audit: Mapping | None = None
    failures: tuple[str, ...] = ()
    loss_before: float | None = None
    companions: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the file."""
        return not self.failures

    def row(self) -> dict:
        """Return one line of a table."""
        parity = self.parity
        figures = {} if parity is None else _figures(parity)
        if self.loss_before is not None:
            figures["fine-tuned from dB"] = f"{self.loss_before:.3f}"
        return {
            "file": self.file,
            "MB": f"{self.bytes / 1e6:.2f}" if self.bytes else None,
            **figures,
            "verdict": "passed" if self.passed else "; ".join(self.failures),
        }


def failures(format: str, variant: str, parity: Parity, trained: bool = True) -> tuple[str, ...]:
    """Return in words which gates a file misses.

    Args:
        format, variant: A key of `GATES`.
        parity: What was measured.
        trained: Whether the network was; the PSNR of one that was not means nothing.
    """
    gate = GATES[format, variant]
    missed = []
    if not parity.psnr_loss <= gate.psnr_loss and trained:
        missed.append(f"loses {parity.psnr_loss:.3f} dB, {gate.psnr_loss} allowed")
    if gate.max_abs_error is not None and not parity.max_abs_error <= gate.max_abs_error:
        missed.append(f"differs by {parity.max_abs_error:.1e}, {gate.max_abs_error:.0e} allowed")
    missed += [f"{case}: {fault}" for case, fault in parity.faults.items()]
    return tuple(missed)


def is_better(report: Report, other: Report) -> bool:
    """Whether a file passes, or loses less in PSNR than another that was measured."""
    if report.parity is None or other.parity is None:
        return report.parity is not None
    return report.passed or report.parity.psnr_loss < other.parity.psnr_loss


def write(report: Report, folder: Path, sheet: np.ndarray | None = None) -> None:
    """Write `FILE.json`, `FILE.md` and, with a picture, `FILE.png` into a folder.

    Raises:
        OSError: if one cannot be written.
    """
    content = {**asdict(report), "environment": environment()}
    if report.parity is not None:
        content["parity"]["psnr_loss"] = report.parity.psnr_loss
        content["gate"] = asdict(GATES[report.format, report.variant])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{report.file}.json", content)
    write_text(folder / f"{report.file}.md", markdown(report, has_sheet=sheet is not None))
    if sheet is not None:
        write_picture(folder / f"{report.file}.png", Picture(sheet))


def write_summary(reports: Iterable[Report], path: Path) -> None:
    """Write the lines of all reports as a Markdown table, and what lies beside the files."""
    reports = list(reports)
    text = "# Exports\n\n" + markdown_table([report.row() for report in reports])
    for report in reports:
        if report.companions:
            made = " or ".join(f"`{name}`" for name in report.companions)
            text += f"\n{made} makes a TensorRT engine of {report.file} on the GPU that runs it.\n"
    write_text(path, text)


def markdown(report: Report, has_sheet: bool = False) -> str:
    """Return a report for people."""
    parts = [f"# {report.file}"]
    parts += ["Passed." if report.passed else "\n".join(f"- **{f}**" for f in report.failures)]
    if report.metadata is not None:
        said = asdict(report.metadata)
        known = [{"": key, "value": cell(value)} for key, value in said.items() if value]
        parts += ["## What it is", markdown_table(known).rstrip()]
    if report.parity is not None:
        rows = [{"": name, "value": cell(value)} for name, value in _measured(report).items()]
        parts += ["## Beside the network in float32", markdown_table(rows).rstrip()]
        if has_sheet:
            parts.append(f"![input, network, export and difference]({report.file}.png)")
    if report.protocol is not None:
        rows = [{"": name, "value": cell(value)} for name, value in report.protocol.items()]
        parts += ["How it was measured:", markdown_table(rows).rstrip()]
    if report.audit is not None:
        lines = [f"- {name}: {_listed(value)}" for name, value in report.audit.items()]
        parts += ["## What it consists of", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def picture_sheet(reference: Reference, restored: np.ndarray, name: str) -> np.ndarray:
    """Put the first picture, what network and export make of it and the difference in a row.

    Args:
        reference: The network and the pictures.
        restored: What the export makes of the first.
        name: Of the export.

    Returns:
        `(H, W, 3)` uint8.
    """
    expected = reference.restored[0]
    difference = np.nan_to_num(restored - expected)
    largest = float(np.abs(difference).max())
    gain = 2.0 ** math.floor(math.log2(0.5 / max(largest, 2**-20)))
    return side_by_side(
        [
            ("degraded", reference.samples[0].enlarged),
            ("network in float32", expected),
            (name, restored),
            (f"difference x {gain:g}", 0.5 + gain * difference),
        ]
    )


def _figures(parity):
    return {
        "max error": f"{parity.max_abs_error:.1e}",
        "agreement dB": f"{parity.agreement:.1f}",
        "pictures": parity.pictures,
        "PSNR dB": f"{parity.psnr:.3f}",
        "loss dB": f"{parity.psnr_loss:.3f}",
        "speed, Keras = 1": f"{parity.speedup:.2f}",
    }


def _measured(report):
    parity = report.parity
    before = {"the same before fine-tuning": report.loss_before}
    return {
        "bytes": report.bytes,
        "SHA-256": report.sha256,
        "largest difference, white is 1": parity.max_abs_error,
        "PSNR between the outputs in dB": parity.agreement,
        f"PSNR in dB, mean of {parity.pictures} pictures": parity.psnr,
        "the same of the network in float32": parity.psnr_float,
        "loss in dB": parity.psnr_loss,
        **({} if report.loss_before is None else before),
        "seconds for a picture": parity.seconds,
        "times as fast as Keras in float32, same run": parity.speedup,
        "stress tests": f"{parity.stress_cases} cases, {len(parity.faults)} new faults",
    }


def _listed(value):
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "none"
    return value
