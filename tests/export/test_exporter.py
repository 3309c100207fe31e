import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.export import exporter
from keras_rdanet.export.formats.base import Format, Variant
from keras_rdanet.export.formats.registry import FORMATS, select
from keras_rdanet.export.job import job_of, prepare_job
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.files import file_sha256
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.open import open_model
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.runtimes.litert import _text
from keras_rdanet.runtimes.metadata import describe, from_json

SAVED_MODEL = ("saved_model", "fp32")


@pytest.fixture(scope="module")
def job(weights, pictures):
    return prepare_job(weights, test=pictures, size=32)


@pytest.fixture
def refuse(monkeypatch):
    """Give a file a tolerance that none can meet."""

    def narrow(format, variant):
        row = FORMATS[format]
        narrowed = replace(row.variants[variant], tolerance=Tolerance(psnr_loss=-99))
        variants = {**row.variants, variant: narrowed}
        monkeypatch.setitem(FORMATS, format, replace(row, variants=variants))

    return narrow


def test_a_file_that_passes_is_published_with_its_report(job, tmp_path):
    (report,) = exporter.run(job, [SAVED_MODEL], tmp_path / "out")
    assert report.passed
    assert report.parity.max_abs_error <= 1e-5
    assert report.operations["Conv2D"] >= 5
    degraded = job.reference.samples[0].degraded[None]
    restored = open_model(tmp_path / "out" / "saved_model")(degraded)
    np.testing.assert_allclose(restored[0], job.reference.restored[0], rtol=0, atol=1e-5)
    names = sorted(path.name for path in (tmp_path / "out").rglob("saved_model*"))
    assert names == [
        "saved_model",
        "saved_model.json",
        "saved_model.md",
        "saved_model.pb",
        "saved_model.png",
    ]
    found = json.loads((tmp_path / "out" / "reports" / "saved_model.json").read_text())
    assert found["sha256"] == file_sha256(tmp_path / "out" / "saved_model")
    assert "| passed |" in (tmp_path / "out" / "report.md").read_text()


def test_an_onnx_file_comes_with_what_tensorrt_needs(job, tmp_path):
    (report,) = exporter.run(job, [("onnx", "fp32")], tmp_path)
    assert tuple(report.sidecars) == ("model_fp32.trtexec.sh", "model_fp32.build_engine.py")
    command, script = ((tmp_path / name).read_text() for name in report.sidecars)
    assert "--optShapes=degraded:1x32x32x1" in command
    assert "PROFILE = ((1, 32, 32, 1), (1, 32, 32, 1), (1, 512, 512, 1))" in script
    assert (
        "`model_fp32.trtexec.sh` builds a TensorRT engine" in (tmp_path / "report.md").read_text()
    )


def test_a_file_that_misses_its_tolerance_leaves_nothing_but_a_line(job, tmp_path, refuse):
    refuse(*SAVED_MODEL)
    (report,) = exporter.run(job, [SAVED_MODEL], tmp_path)
    assert "loses" in report.failures[0]
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert "loses" in (tmp_path / "report.md").read_text()


def test_an_older_file_stays_if_the_new_one_is_refused(job, tmp_path, refuse):
    wanted = [("onnx", "fp32")]
    exporter.run(job, wanted, tmp_path)
    before = (tmp_path / "model_fp32.onnx").read_bytes()
    refuse(*wanted[0])
    (report,) = exporter.run(job, wanted, tmp_path)
    assert report.failures[1] == "model_fp32.onnx in the folder is an older one"
    assert (tmp_path / "model_fp32.onnx").read_bytes() == before


def test_force_publishes_it_all_the_same_and_the_report_says_so(job, tmp_path, refuse):
    refuse(*SAVED_MODEL)
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_text("an older one")
    exporter.run(job, [SAVED_MODEL], tmp_path, force=True)
    assert open_model(tmp_path / "saved_model").channels == 1
    assert "**loses" in (tmp_path / "reports" / "saved_model.md").read_text()


def test_what_is_no_export_is_not_replaced(job, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "mine.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="saved_model is a folder but not an export; move it"):
        exporter.run(job, [SAVED_MODEL], tmp_path, force=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["saved_model", "mine.txt"]


def test_a_format_that_cannot_take_the_network_does_not_stop_the_others(job, tmp_path, monkeypatch):
    def write(job, path, variant):
        raise ValueError("There is no\nsuch operation.")

    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], write=write))
    made = [("onnx", "fp32"), SAVED_MODEL]
    refused, passed = exporter.run(job, made, tmp_path, force=True)
    assert refused.failures == ("There is no such operation.",)
    assert passed.passed
    assert not (tmp_path / "model_fp32.onnx").exists()
    assert not (tmp_path / "reports" / "model_fp32.onnx.json").exists()


def test_what_misses_its_tolerance_is_made_again_from_fine_tuned_weights(
    weights, pictures, tmp_path, refuse
):
    job = prepare_job(weights, calibration=pictures, test=pictures, size=32)
    before = job.model.get_weights()
    refuse("tflite", "int8_uint8")
    wanted = [("tflite", "int8_uint8")]
    (report,) = exporter.run(job, wanted, tmp_path, force=True, fine_tune=3)
    # This network is untrained: learning anything from pictures makes it better.
    assert report.parity.psnr_loss < report.loss_before
    for own, kept in zip(job.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)
    path = tmp_path / "model_int8_uint8.tflite"
    said = from_json(_text(path.read_bytes(), path))
    assert (said.weights, said.fine_tuned) == ("mine.safetensors", 3)
    written = (tmp_path / "reports" / "model_int8_uint8.tflite.md").read_text()
    assert "loss in dB before fine-tuning" in written


def test_the_slow_file_is_verified_beside_the_others(weights, pictures, tmp_path, monkeypatch):
    job = prepare_job(weights, calibration=pictures, test=pictures, size=32)
    slow = ("tflite", "int16x8")
    wanted = [SAVED_MODEL, slow]
    reports = exporter.run(job, wanted, tmp_path, force=True)
    assert [(report.format, report.variant) for report in reports] == wanted
    assert all(report.parity for report in reports)
    assert open_model(tmp_path / "model_int16x8.tflite").precision == "int16x8"

    def fail(path):
        raise OSError(f"{path.name} is gone.")

    monkeypatch.setitem(FORMATS, "tflite", replace(FORMATS["tflite"], open=fail))
    with pytest.raises(OSError, match="is gone"):
        exporter.run(job, [slow], tmp_path)


def test_export_does_it_all_and_returns_the_reports(weights, pictures, tmp_path):
    shown = []
    reports = exporter.export(
        weights, tmp_path, formats=["saved_model"], test=pictures, size=32, on_report=shown.append
    )
    assert [report.file for report in reports] == ["saved_model"]
    assert shown == reports
    assert (reports[0].passed, reports[0].parity.pictures) == (True, 2)
    assert open_model(tmp_path / "saved_model").channels == 1


def test_calibration_pictures_verify_as_well(weights, pictures, tmp_path):
    (fp32, int8) = exporter.export(
        weights, tmp_path, formats=["onnx"], calibration=pictures, size=32, force=True
    )
    assert (fp32.variant, int8.variant) == ("fp32", "int8")
    assert int8.protocol["pictures"] == pictures.name
    assert int8.metadata.variant == "int8"
    assert open_model(tmp_path / "model_int8.onnx").precision == "int8"


def test_what_cannot_be_made_is_refused_before_anything_is_written(weights, tmp_path):
    with pytest.raises(ValueError, match="int8: ranges are measured on clean pictures"):
        exporter.export(weights, tmp_path / "out", formats=["onnx"], variants=["int8"])
    assert not (tmp_path / "out").exists()


def write_kernel(job, path, variant):
    """A format of this test: the kernel of a network that is one convolution."""
    np.savez(path, job.model.layers[1].get_weights()[0])


def open_kernel(path):
    """Open such a file as a function that blurs with the kernel."""
    kernel = np.load(path)["arr_0"][..., 0, 0][:, :, None, None]

    def restore(images):
        return np.asarray(tf.nn.conv2d(images, kernel.astype(np.float32), 1, "SAME"))

    return ImageFunction(function=restore, channels=1, name=path.name, radius=1)


@keras.saving.register_keras_serializable(package="tests")
class Blur(RestorationModel):
    """One convolution."""

    radius = 1
    channels = 1

    def __init__(self):
        degraded = keras.Input((None, None, 1), name="degraded")
        blur = keras.layers.Conv2D(1, 3, padding="same", use_bias=False, name="blur")
        super().__init__(degraded, blur(degraded))
        blur.set_weights([np.float32([[0, 1, 0], [1, 4, 1], [0, 1, 0]])[..., None, None] / 8])


@pytest.fixture
def kernel_format(monkeypatch):
    row = Format(
        name="kernel",
        suffix=".npz",
        variants={"fp32": Variant(Tolerance(0.01, max_abs_error=1e-4))},
        write=write_kernel,
        open=open_kernel,
    )
    monkeypatch.setitem(FORMATS, "kernel", row)
    return row


def test_a_new_format_is_one_row(kernel_format, pictures, tmp_path):
    model = Blur()
    job = job_of(model, describe(model, "blur"), test=pictures, size=32)
    (report,) = exporter.run(job, select(["kernel"], has_pictures=False), tmp_path)
    assert (report.file, report.passed) == ("model_fp32.npz", True)
    assert report.tolerance == kernel_format.variants["fp32"].tolerance
    assert report.parity.max_abs_error < 1e-6
    assert "| model_fp32.npz |" in (tmp_path / "report.md").read_text()
    written = json.loads((tmp_path / "reports" / "model_fp32.npz.json").read_text())
    assert written["tolerance"] == {"psnr_loss": 0.01, "max_abs_error": 1e-4}
    monochrome = np.ones((1, 8, 8, 1), np.float32)
    restored = open_kernel(tmp_path / "model_fp32.npz")(monochrome)
    np.testing.assert_allclose(restored[0, 4, 4], 1, atol=1e-6)


def test_a_new_format_that_is_wrong_misses_its_tolerance(kernel_format, pictures, tmp_path):
    model = Blur()
    job = job_of(model, describe(model, "blur"), test=pictures, size=32)

    def write_twice(job, path, variant):
        np.savez(path, 2 * job.model.layers[1].get_weights()[0])

    FORMATS["kernel"] = replace(kernel_format, write=write_twice)
    (report,) = exporter.run(job, [("kernel", "fp32")], tmp_path)
    assert "differs by" in report.failures[1]
    assert not (tmp_path / "model_fp32.npz").exists()
