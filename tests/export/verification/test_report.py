import json

import numpy as np
import pytest

from keras_rdanet.export.verification import report as reporting
from keras_rdanet.export.verification.comparison import Parity, Reference
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.image.io import read_picture
from keras_rdanet.runtimes.metadata import describe
from keras_rdanet.tasks.scoring import Sample, score
from tests.inference.functions import identity

METADATA = describe(identity(), "rdn_gray")


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


def report(**fields):
    good = {
        "file": "model_int8.tflite",
        "format": "tflite",
        "variant": "int8",
        "metadata": METADATA,
        "bytes": 1_234_000,
        "parity": parity(psnr=29.9),
        "protocol": {"name": "noise", "sigma": 25},
        "tolerance": Tolerance(0.3),
        "operations": {"CONV_2D": 118},
        "delegate_support": {"cpu": [], "gpu": ["1 GATHER, not supported"]},
    }
    return reporting.Report(**{**good, **fields})


def test_the_better_of_two_files_passes_or_loses_less():
    def losing(psnr, *failures):
        return report(parity=parity(psnr=psnr), failures=failures)

    lost = report(parity=None, failures=("cannot be made",))
    assert reporting.is_better(losing(29.8), losing(29.9, "green: mean moved"))
    assert reporting.is_better(losing(29.6, "loses"), losing(29.5, "loses"))
    assert not reporting.is_better(losing(29.4, "loses"), losing(29.5, "loses"))
    assert not reporting.is_better(lost, losing(29.5, "loses"))


def test_a_report_is_written_for_people_and_programs(tmp_path):
    samples = [Sample("a", np.full((8, 8, 1), 0.5, np.float32), np.zeros((8, 8, 1), np.uint8))]
    reference = Reference(identity(), samples, score)
    restored = reference.restored[0] + np.float32(0.001)
    sheet = reporting.picture_sheet(reference, restored, "model_int8.tflite")
    reporting.write(report(), tmp_path / "reports", sheet)
    written = json.loads((tmp_path / "reports" / "model_int8.tflite.json").read_text())
    assert written["parity"]["psnr_loss"] == pytest.approx(0.1)
    assert written["tolerance"] == {"psnr_loss": 0.3, "max_abs_error": None}
    assert written["delegate_support"]["gpu"] == ["1 GATHER, not supported"]
    assert written["environment"]["versions"]["tensorflow"]
    text = (tmp_path / "reports" / "model_int8.tflite.md").read_text()
    assert "Passed." in text
    assert "CONV_2D 118" in text
    assert "- gpu: 1 GATHER, not supported" in text
    assert "- cpu: supports the whole file" in text
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
