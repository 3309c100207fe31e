"""The report of an exported file, for people and for programs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from keras_rdanet.evaluation.report import cell, markdown_table
from keras_rdanet.export.verification.comparison import Parity, Reference
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.files import write_json, write_text
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.image.sheets import side_by_side
from keras_rdanet.profiling import environment
from keras_rdanet.runtimes.metadata import ExportMetadata


@dataclass(frozen=True)
class Report:
    """An exported file and its measurements.

    Args:
        file: Name of the file.
        format: Name of its format.
        variant: Name of its variant.
        metadata: Metadata of the file, which describes its network.
        bytes: Size of the file, in bytes; 0 if it could not be made.
        sha256: Hash of the file, in hexadecimal.
        protocol: Description of how the pictures were degraded and scored.
        tolerance: Limits for the differences between the file and its network.
        parity: Measured differences; `None` if the file could not be made.
        operations: Number of operations in the file, by their kind.
        delegate_support: Operations, shapes and types that a target does not support, by target.
        failures: Reasons not to publish the file; empty for a good file.
        loss_before: Loss in dB of the same file before its weights were
            fine-tuned; `None` if they were not.
        sidecars: Purpose of each file that belongs beside it, by name.
    """

    file: str
    format: str
    variant: str
    metadata: ExportMetadata
    bytes: int = 0
    sha256: str | None = None
    protocol: Mapping | None = None
    tolerance: Tolerance | None = None
    parity: Parity | None = None
    operations: Mapping[str, int] | None = None
    delegate_support: Mapping[str, Sequence[str]] | None = None
    failures: tuple[str, ...] = ()
    loss_before: float | None = None
    sidecars: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the file was made and is within its tolerance."""
        return not self.failures

    @property
    def missed(self) -> bool:
        """Whether the file was made and misses its tolerance."""
        return self.parity is not None and not self.passed

    def failing(self, reason: str) -> "Report":
        """Return this report with one more reason not to publish the file."""
        return replace(self, failures=(*self.failures, reason))

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


def is_better(report: Report, other: Report) -> bool:
    """Whether a file passes, or loses less PSNR than another that was measured."""
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
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{report.file}.json", content)
    write_text(folder / f"{report.file}.md", markdown(report, has_sheet=sheet is not None))
    if sheet is not None:
        write_picture(folder / f"{report.file}.png", Picture(sheet))


def write_summary(reports: Iterable[Report], path: Path) -> None:
    """Write the lines of all reports as a Markdown table, and what the sidecars do."""
    reports = list(reports)
    text = "# Exports\n\n" + markdown_table([report.row() for report in reports])
    for report in reports:
        for name, does in report.sidecars.items():
            text += f"\n`{name}` {does}.\n"
    write_text(path, text)


def markdown(report: Report, has_sheet: bool = False) -> str:
    """Return a report for people."""
    parts = [f"# {report.file}"]
    parts += ["Passed." if report.passed else "\n".join(f"- **{f}**" for f in report.failures)]
    said = asdict(report.metadata)
    known = [{"": key, "value": cell(value)} for key, value in said.items() if value]
    parts += ["## Network", markdown_table(known).rstrip()]
    if report.parity is not None:
        rows = [{"": name, "value": cell(value)} for name, value in _measured(report).items()]
        parts += ["## Compared with the network in float32", markdown_table(rows).rstrip()]
        if has_sheet:
            parts.append(f"![input, network, export and difference]({report.file}.png)")
    if report.protocol is not None:
        rows = [{"": name, "value": cell(value)} for name, value in report.protocol.items()]
        parts += ["## Protocol", markdown_table(rows).rstrip()]
    if report.operations is not None:
        counts = (f"{kind} {count}" for kind, count in report.operations.items())
        parts += ["## Operations", ", ".join(counts)]
    if report.delegate_support is not None:
        lines = [
            f"- {target}: {'; '.join(missing) or 'supports the whole file'}"
            for target, missing in report.delegate_support.items()
        ]
        parts += [
            "## Delegate support",
            "Operations, shapes and types that a target does not support:\n\n" + "\n".join(lines),
        ]
    return "\n\n".join(parts) + "\n"


def picture_sheet(reference: Reference, restored: np.ndarray, name: str) -> np.ndarray:
    """Put the first picture, the outputs of network and export and their difference in a row.

    Args:
        reference: The network and the pictures.
        restored: Output of the export for the first picture.
        name: Name of the export.

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
    before = {"loss in dB before fine-tuning": report.loss_before}
    return {
        "bytes": report.bytes,
        "SHA-256": report.sha256,
        "largest difference, white is 1": parity.max_abs_error,
        "PSNR between the outputs in dB": parity.agreement,
        f"PSNR in dB, mean of {parity.pictures} pictures": parity.psnr,
        "PSNR in dB of the network in float32": parity.psnr_float,
        "loss in dB": parity.psnr_loss,
        **({} if report.loss_before is None else before),
        "seconds for a picture": parity.seconds,
        "times as fast as Keras in float32, same run": parity.speedup,
        "stress tests": f"{parity.stress_cases} cases, {len(parity.faults)} new faults",
    }
