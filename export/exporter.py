"""From a network to files in several formats, each verified before it is published."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_rdanet.export.formats.base import Format
from keras_rdanet.export.formats.registry import FORMATS, is_calibrated, select
from keras_rdanet.export.job import ExportJob, prepare_job
from keras_rdanet.export.verification import report as reporting
from keras_rdanet.export.verification.comparison import failures, measure
from keras_rdanet.export.verification.report import Report
from keras_rdanet.files import file_sha256, replacing, replacing_folder, working_folder
from keras_rdanet.ownership import locked, remove_leftovers

REPORTS = "reports"
SUMMARY = "report.md"


def export(
    model: Any,
    out: str | Path,
    *,
    formats: Iterable[str] | None = None,
    variants: Iterable[str] | None = None,
    calibration: str | Path | None = None,
    test: str | Path | None = None,
    channels: int | None = None,
    size: int | None = None,
    pictures: int = 8,
    fine_tune: int = 0,
    force: bool = False,
    on_report: Callable[[Report], None] | None = None,
) -> list[Report]:
    """Export a network to files, verify each of them, and put those that pass into a folder.

    Every file is compared with the network in float32 on the same pictures,
    degraded as those it was trained for. A file that misses its tolerance is
    deleted; `report.md` still lists it, with the reason.

    Args:
        model: Name of a network or a family, path of a weights file, or a
            `RestorationModel` in float32 that knows its preset.
        out: The folder to write to; it is made if it does not exist.
        formats: Names of formats, keys of `FORMATS`; by default all that come
            in one of `variants`.
        variants: Names of variants, `"fp32"` and `"int8"` for example; by
            default all.
        calibration: Folder of clean pictures on which int8 files measure the
            ranges of their values.
        test: Folder of clean pictures to verify with; by default those of
            `calibration`, or a drawn scene without either.
        channels: Number of channels, `1` or `3`, of the network of a family; by default that of
            the pictures.
        size: Height and width in pixels of files whose input is fixed, and of
            the crops that are compared; by default 256, or 64 for networks
            that compare all positions.
        pictures: Largest number of pictures to verify with.
        fine_tune: Number of fine-tuning steps for int8 files that miss their tolerance; 0 for
            none.
        force: Whether files that miss their tolerance are published as well;
            their reports say so.
        on_report: Function that is called with each report as soon as its file is published or
            refused.

    Returns:
        A report for each file, in the order they were made.

    Raises:
        ValueError: if a name is unknown, the model does not know its preset,
            the pictures do not suit the network, or files that need pictures
            are asked for without any.
        TypeError: if `model` is neither a name, a path nor a model.
        ImportError: if a converter is not installed.
        OSError: if a file cannot be read or written, or the folder holds
            something else under the name of a file.

    Example:
        >>> import keras_rdanet as kr
        >>> model = kr.create_model("rdn_rgb", weights=None, num_blocks=1, num_layers=1)
        >>> (report,) = kr.export(model, "out", formats=["onnx"], variants=["fp32"], size=32)
        >>> report.passed
        True
    """
    wanted = select(formats, variants, has_pictures=calibration is not None, fine_tune=fine_tune)
    needs_calibration = any(is_calibrated(*pair) for pair in wanted)
    job = prepare_job(
        model,
        calibration=calibration if needs_calibration else None,
        test=calibration if test is None else test,
        channels=channels,
        size=size,
        pictures=pictures,
    )
    return run(job, wanted, Path(out), force=force, fine_tune=fine_tune, on_report=on_report)


def run(
    job: ExportJob,
    wanted: Sequence[tuple[str, str]],
    out: Path,
    *,
    force: bool = False,
    fine_tune: int = 0,
    on_report: Callable[[Report], None] | None = None,
) -> list[Report]:
    """Make files of a job that is prepared, verify each of them, and publish those that pass.

    The folder also gets `report.md`, with a line for every file, and `reports`, with the
    measurements of each as JSON, Markdown and a picture. If an older file is kept because the
    new one was refused, `report.md` says so.

    Args:
        job: The network and its pictures.
        wanted: Pairs of format and variant, from `select`.
        out: The folder; it is made if it does not exist.
        force: Whether files that miss their tolerance are published as well.
        fine_tune: Steps of fine-tuning for int8 files that miss their
            tolerance. They are made again from the fine-tuned weights,
            compared with the original network, and published if they are better.
        on_report: Function that is called with each report.

    Returns:
        A report for each file.

    Raises:
        ImportError: if a converter is not installed.
        OSError: as in `export`, or if another job is writing to `out`.
    """
    for format, variant in wanted:
        _check_replaceable(out, FORMATS[format], variant)
    out.mkdir(parents=True, exist_ok=True)
    reports: list[Report] = []
    with (
        locked(out / ".export.lock", f"the folder {out}"),
        working_folder(out) as work,
    ):
        remove_leftovers(out)
        tuned: ExportJob | None = None
        slow = {
            (format, variant): _begin(job, format, variant, work)
            for format, variant in wanted
            if FORMATS[format].variants[variant].slow
        }
        for format, variant in wanted:
            folder = work
            if (format, variant) in slow:
                report, sheet = slow[format, variant].result()
            else:
                report, sheet = verify(job, format, variant, folder)
            if fine_tune and report.missed and FORMATS[format].variants[variant].fine_tunable:
                tuned = tuned or job.fine_tuned(fine_tune)
                second = folder / "fine_tuned"
                second.mkdir(exist_ok=True)
                again, other = verify(tuned, format, variant, second)
                if reporting.is_better(again, report):
                    loss = report.parity and report.parity.psnr_loss
                    report, sheet, folder = replace(again, loss_before=loss), other, second
                else:
                    report = report.failing(_in_vain(again))
            if report.passed or (force and report.missed):
                path = out / report.file
                _move_copy(folder / report.file, path)
                report = replace(report, sidecars=_sidecars(job, path, format, variant))
                reporting.write(report, out / REPORTS, sheet)
            elif (out / report.file).exists():
                report = report.failing(f"{report.file} in the folder is an older one")
            reports.append(report)
            reporting.write_summary(reports, out / SUMMARY)
            if on_report is not None:
                on_report(report)
    return reports


def verify(
    job: ExportJob, format: str, variant: str, work: Path
) -> tuple[Report, np.ndarray | None]:
    """Make a file and measure everything in its report.

    Args:
        job: The network and its pictures.
        format: Name of the format.
        variant: Name of the variant.
        work: Folder for the file and its intermediate files.

    Returns:
        The report, and a picture for it; a file that cannot be made has no
        parity and no picture, and the reason is among the failures.
    """
    row = FORMATS[format]
    kind = row.variants[variant]
    name = row.file_name(variant)
    metadata = replace(job.metadata, variant=variant)
    reference, protocol = job.reference, job.protocol
    if kind.takes_samples:
        reference = reference.in_eight_bits
        protocol = {**protocol, "degraded": "clipped and rounded to 8 bits, for network and file"}
    try:
        path = make(job, format, variant, work)
        parity, restored = measure(row.open(path), reference)
    except ValueError as error:
        reason = " ".join(str(error).split())
        return Report(name, format, variant, metadata, failures=(reason,)), None
    report = Report(
        file=name,
        format=format,
        variant=variant,
        metadata=metadata,
        bytes=size_of(path),
        sha256=file_sha256(path),
        protocol=protocol,
        tolerance=kind.tolerance,
        parity=parity,
        failures=failures(parity, kind.tolerance, trained=job.trained),
        **(row.inspect(path) if row.inspect else {}),
    )
    return report, reporting.picture_sheet(reference, restored, name)


def make(job: ExportJob, format: str, variant: str, work: Path) -> Path:
    """Make the file of a format and variant in the folder `work`, if it is not there yet.

    Raises:
        ValueError: if the format cannot hold the network.
    """
    row = FORMATS[format]
    path = work / row.file_name(variant)
    if not path.exists():
        row.write(job, path, variant)
    return path


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _begin(job, format, variant, work):
    """Make a slow file and begin to verify it; `verify` will report what is wrong with it."""
    with contextlib.suppress(ValueError):
        make(job, format, variant, work)
    return _in_background(lambda: verify(job, format, variant, work))


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


def _sidecars(job, path, format, variant):
    row = FORMATS[format]
    return row.sidecars(job, path, variant) if row.sidecars else {}


def _check_replaceable(out: Path, row: Format, variant: str) -> None:
    """Refuse to replace a file or folder that is not an export."""
    path = out / row.file_name(variant)
    if path.is_dir() and not (row.marker and (path / row.marker).is_file()):
        raise FileExistsError(
            f"{path} is a folder but not an export; move it or name another --out."
        )
    if path.is_file() and not row.suffix:
        raise FileExistsError(f"{path} is a file; move it or name another --out.")


def _move_copy(source: Path, target: Path) -> None:
    """Put a copy of a file or folder in place of an older one, whole or not at all."""
    if source.is_file():
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    with replacing_folder(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
