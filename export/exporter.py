"""From a network to files in several formats, each of them proven before it is published."""

import collections
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_rdanet.export.formats.saved_model import export_saved_model, operations
from keras_rdanet.export.job import Subject
from keras_rdanet.export.verification import report as reporting
from keras_rdanet.export.verification.comparison import measure
from keras_rdanet.files import file_sha256, replacing
from keras_rdanet.inference.open import open_model

# Format -> its variants, in the order they are made in.
VARIANTS = {
    "saved_model": ("fp32",),
    "onnx": ("fp32", "int8"),
    "tflite": ("fp32", "fp16", "dynamic", "int8", "int8_uint8", "int16x8"),
}
CALIBRATED = ("int8", "int8_uint8", "int16x8")
FINE_TUNED = ("int8", "int8_uint8")
# Runs on reference kernels here, on one core for a minute: proven beside the other files.
SLOW = ("tflite", "int16x8")
REPORTS = "reports"
SUMMARY = "report.md"


def file_name(format: str, variant: str) -> str:
    """What an exported file is called, `model_int8.tflite` say; a SavedModel is a folder."""
    return "saved_model" if format == "saved_model" else f"model_{variant}.{format}"


def combinations(formats: Sequence[str], variants: Sequence[str]) -> list[tuple[str, str]]:
    """Which pairs of format and variant there are, of those asked for.

    Raises:
        ValueError: if a format has none of the variants.
    """
    found = {name: [v for v in VARIANTS[name] if v in variants] for name in formats}
    for name in (name for name in formats if not found[name]):
        raise ValueError(f"{name} comes as {', '.join(VARIANTS[name])}; none of these is wanted.")
    return [(name, variant) for name in VARIANTS if name in found for variant in found[name]]


def publish(
    subject: Subject,
    wanted: Sequence[tuple[str, str]],
    out: Path,
    *,
    force: bool = False,
    fine_tune: int = 0,
) -> Iterator[reporting.Report]:
    """Make files, prove each of them, and put those that pass into a folder.

    Beside them come `report.md`, a line for every file, and in `reports` what
    was measured about each: JSON, Markdown and a picture. Of a file that
    misses its gate nothing stays but its line, which says so if an older file
    of that name is still there. A float32 ONNX file gets a `trtexec` command
    and a Python script beside it, see `write_tensorrt`.

    Args:
        subject: The network.
        wanted: Pairs of format and variant.
        out: The folder; made if it is not there.
        force: Publish what misses its gate all the same; its report says so.
        fine_tune: Steps of fine-tuning for files in 8 bits that miss their
            gate; they are made once more from its weights, compared with the
            network as it was, and taken if they are better. 0 for none.

    Yields:
        A report for each file, once it is published or refused.

    Raises:
        ValueError: if quantized files are wanted without pictures for calibration,
            or fine-tuning without pictures to learn from.
        ImportError: if a converter is not installed.
        OSError: if the folder cannot be written, or holds something else under
            the name of a file.
    """
    quantized = [variant for _, variant in wanted if variant in CALIBRATED]
    if quantized and subject.calibration is None:
        raise ValueError(
            f"{quantized[0]} learns its ranges from pictures: give a folder of them (--data), "
            f"or leave {quantized[0]} out (--variants)."
        )
    for name in (file_name(*pair) for pair in wanted):
        _check_replaceable(out / name)
    if fine_tune and subject.data is None:
        raise ValueError("Fine-tuning learns from pictures: give a folder of them (--data).")
    out.mkdir(parents=True, exist_ok=True)
    reports = []
    with tempfile.TemporaryDirectory(prefix=".", dir=out) as work:
        tuned: Subject | None = None
        slow = _begin(subject, Path(work)) if SLOW in wanted else None
        for format, variant in wanted:
            folder = Path(work)
            if slow is not None and (format, variant) == SLOW:
                report, sheet = slow.result()
            else:
                report, sheet = prove(subject, format, variant, folder)
            if fine_tune and variant in FINE_TUNED and report.parity and not report.passed:
                tuned = tuned or subject.fine_tuned(fine_tune)
                second = folder / "fine_tuned"
                second.mkdir(exist_ok=True)
                again, other = prove(tuned, format, variant, second)
                if reporting.is_better(again, report):
                    loss = report.parity.psnr_loss
                    report, sheet, folder = replace(again, loss_before=loss), other, second
                else:
                    report = replace(report, failures=(*report.failures, _in_vain(again)))
            if report.parity is not None and (report.passed or force):
                _move_copy(folder / report.file, out / report.file)
                report = replace(report, companions=_companions(subject, out / report.file))
                reporting.write(report, out / REPORTS, sheet)
            elif (out / report.file).exists():
                older = f"{report.file} in the folder is an older one"
                report = replace(report, failures=(*report.failures, older))
            reports.append(report)
            reporting.write_summary(reports, out / SUMMARY)
            yield report


def prove(
    subject: Subject, format: str, variant: str, work: Path
) -> tuple[reporting.Report, np.ndarray | None]:
    """Make a file and find out all that its report says.

    Args:
        subject: The network.
        format, variant: What to make.
        work: A folder for it, and for what it is made from.

    Returns:
        The report, and a picture for it; a file that cannot be made has no
        parity and no picture, and the reason is among the failures.
    """
    name = file_name(format, variant)
    reference, protocol = subject.reference, subject.protocol
    if variant == "int8_uint8":
        reference = reference.in_eight_bits
        protocol = {**protocol, "degraded": "clipped and rounded to 8 bits, for network and file"}
    try:
        path = make(subject, format, variant, work)
        function = open_model(path)
        parity, restored = measure(function, reference)
    except ValueError as error:
        reason = " ".join(str(error).split())
        return reporting.Report(name, format, variant, failures=(reason,)), None
    report = reporting.Report(
        file=name,
        format=format,
        variant=variant,
        metadata=subject.metadata,
        bytes=size_of(path),
        sha256=file_sha256(path),
        protocol=protocol,
        parity=parity,
        audit=_audit(format, path),
        failures=reporting.failures(
            format, variant, parity, trained=subject.metadata.weights is not None
        ),
    )
    return report, reporting.picture_sheet(reference, restored, name)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def make(subject, format, variant, work):
    """Make the file of a format and variant in the folder `work`, if it is not there yet."""
    path = work / file_name(format, variant)
    if path.exists():
        return path
    if format == "saved_model":
        return export_saved_model(subject.model, path, subject.metadata)
    if format == "onnx":
        from keras_rdanet.export.formats.onnx import export_onnx, export_qdq

        if variant == "fp32":
            return export_onnx(subject.model, path, subject.metadata)
        tiles = subject.calibration.degraded
        return export_qdq(make(subject, "onnx", "fp32", work), path, np.split(tiles, len(tiles)))
    return subject.tflite.write(path, variant)


def _begin(subject, work):
    """Make the slow file and begin to prove it; what is wrong with it, `prove` will say."""
    with contextlib.suppress(ValueError):
        make(subject, *SLOW, work)
    return _in_background(lambda: prove(subject, *SLOW, work))


def _in_background(work: Callable) -> Future:
    """Call a function in a thread that does not keep the program from ending."""
    future: Future = Future()

    def call():
        try:
            future.set_result(work())
        except BaseException as error:  # to be raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def _in_vain(report):
    lost = f"loses {report.parity.psnr_loss:.3f} dB" if report.parity else "cannot be made"
    return f"{lost} after fine-tuning"


def _audit(format, path):
    if format == "saved_model":
        return {"operations": operations(path)}
    if format == "onnx":
        import onnx

        nodes = onnx.load(path).graph.node
        return {"operations": dict(collections.Counter(node.op_type for node in nodes))}
    from keras_rdanet.export.verification.delegates import audit

    return audit(path)


def _companions(subject, path):
    """Write what makes a TensorRT engine of an ONNX file; return the names."""
    if path.name != file_name("onnx", "fp32"):
        return ()
    from keras_rdanet.export.formats.tensorrt import Profile, write_tensorrt

    size = subject.size
    # The memory of networks that compare all positions grows with the square of the area.
    ends = (size, size) if subject.metadata.support == "nonlocal" else (64, 512)
    least, most = min(ends[0], size), max(ends[1], size)
    profile = Profile((1, least, least), (1, size, size), (1, most, most))
    return tuple(made.name for made in write_tensorrt(path, profile=profile))


def _check_replaceable(path):
    """Refuse to put an export in place of what is none."""
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise FileExistsError(f"{path} is a folder but no export; move it or name another --out.")
    if path.is_file() and path.name == file_name("saved_model", "fp32"):
        raise FileExistsError(f"{path} is a file; move it or name another --out.")


def _move_copy(source: Path, target: Path) -> None:
    """Put a copy of a file or folder in place of an older one, whole or not at all."""
    if source.is_file():
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    copy = shutil.copytree(source, source.with_name(f"{source.name}.copy"))
    shutil.rmtree(target, ignore_errors=True)
    copy.rename(target)
