import json

import numpy as np
import pytest

from keras_rdanet.export.exporter import VARIANTS
from keras_rdanet.export.verification import report as reporting
from keras_rdanet.export.verification.comparison import Parity, Reference
from keras_rdanet.image.io import read_picture
from keras_rdanet.tasks.scoring import Sample, score
from tests.inference.functions import identity


def parity(**fields):
    good = {
        "max_abs_error": 1e-6,
        "agreement": 120.0,
        "psnr_float": 30.0,
        "psnr": 30.0,
        "pictures": 3,
        "seconds": 0.25,
        "speedup": 2.0,
        "stress_cases": 20,
    }
    return Parity(**{**good, **fields})


def test_every_variant_that_is_made_has_a_gate():
    made = {(format, variant) for format, variants in VARIANTS.items() for variant in variants}
    assert set(reporting.GATES) == made


@pytest.mark.parametrize(
    ("variant", "allowed"), [("fp16", 0.02), ("int16x8", 0.1), ("dynamic", 0.1), ("int8", 0.3)]
)
def test_gates_of_lost_quality(variant, allowed):
    just = parity(psnr=30 - allowed + 1e-9, max_abs_error=0.1)
    more = parity(psnr=30 - allowed - 0.001)
    assert reporting.failures("tflite", variant, just) == ()
    (reason,) = reporting.failures("tflite", variant, more)
    assert reason == f"loses {allowed + 0.001:.3f} dB, {allowed} allowed"


@pytest.mark.parametrize(("format", "allowed"), [("saved_model", 1e-5), ("onnx", 1e-4)])
def test_gates_of_differences_in_float32(format, allowed):
    assert reporting.failures(format, "fp32", parity(max_abs_error=allowed)) == ()
    (reason,) = reporting.failures(format, "fp32", parity(max_abs_error=1.1 * allowed))
    assert "differs by" in reason


def test_what_is_not_a_number_fails_and_so_do_new_faults():
    assert reporting.failures("onnx", "fp32", parity(max_abs_error=np.nan)) != ()
    assert reporting.failures("onnx", "int8", parity(psnr=np.nan)) != ()
    assert reporting.failures("onnx", "fp32", parity(faults={"black": "grew"})) == ("black: grew",)


def test_the_better_of_two_files_passes_or_loses_less():
    def report(psnr, *failures):
        return reporting.Report("f", "tflite", "int8", parity=parity(psnr=psnr), failures=failures)

    lost = reporting.Report("f", "tflite", "int8", failures=("cannot be made",))
    assert reporting.is_better(report(29.8), report(29.9, "green: mean moved"))
    assert reporting.is_better(report(29.6, "loses"), report(29.5, "loses"))
    assert not reporting.is_better(report(29.4, "loses"), report(29.5, "loses"))
    assert not reporting.is_better(lost, report(29.5, "loses"))


def test_the_psnr_of_an_untrained_network_counts_for_nothing():
    assert reporting.failures("tflite", "int8", parity(psnr=9.0), trained=False) == ()


def report(**fields):
    good = {
        "file": "model_int8.tflite",
        "format": "tflite",
        "variant": "int8",
        "bytes": 1_234_000,
        "parity": parity(psnr=29.9),
        "protocol": {"name": "noise", "sigma": 25},
        "audit": {"operations": {"CONV_2D": 118}, "gpu": ["no GATHER"]},
    }
    return reporting.Report(**{**good, **fields})


def test_a_report_is_written_for_people_and_programs(tmp_path):
    samples = [Sample("a", np.full((8, 8, 1), 0.5, np.float32), np.zeros((8, 8, 1), np.uint8))]
    reference = Reference(identity(), samples, score)
    restored = reference.restored[0] + np.float32(0.001)
    sheet = reporting.picture_sheet(reference, restored, "model_int8.tflite")
    reporting.write(report(), tmp_path / "reports", sheet)
    written = json.loads((tmp_path / "reports" / "model_int8.tflite.json").read_text())
    assert written["parity"]["psnr_loss"] == pytest.approx(0.1)
    assert written["gate"] == {"psnr_loss": 0.3, "max_abs_error": None}
    assert written["environment"]["versions"]["tensorflow"]
    text = (tmp_path / "reports" / "model_int8.tflite.md").read_text()
    assert "Passed." in text
    assert "CONV_2D 118" in text
    assert "| sigma | 25 |" in text
    picture = read_picture(tmp_path / "reports" / "model_int8.tflite.png").samples
    np.testing.assert_array_equal(picture, sheet)
    # 0.001 is shown 256 times as large: a gray 0.756 of white.
    assert (picture == round(255 * 0.756)).any()


def test_the_summary_has_a_line_for_each_file_and_says_what_is_wrong(tmp_path):
    refused = report(file="b.onnx", parity=None, bytes=0, failures=("no such | operation",))
    reporting.write_summary([report(), refused], tmp_path / "report.md")
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "1.23" in lines[4]
    assert "| passed |" in lines[4]
    assert lines[5].startswith("| b.onnx |")
    assert "no such \\| operation" in lines[5]
    assert "**loses" in reporting.markdown(report(failures=("loses 1 dB",)))
