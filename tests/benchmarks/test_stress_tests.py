import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.inference.image_function import ImageFunction

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the script on a function in place of a network; returns exit status and rows."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import stress_tests

    def invoke(change):
        def opened(model, precision):
            function = ImageFunction(change, 1, model, precision=precision)
            return function, {"sha256": "abc"}

        monkeypatch.setattr(stress_tests, "open_identified", opened)
        arguments = ["--model", "net", "--results", str(tmp_path)]
        code = CliRunner().invoke(stress_tests.main, arguments).exit_code
        return code, json.loads((tmp_path / "stress_tests.json").read_text())["rows"]

    return invoke


def test_function_that_changes_nothing_passes_in_both_precisions(run, tmp_path):
    code, rows = run(lambda images: images)
    assert code == 0
    assert {(row["precision"], row["sha256"]) for row in rows} == {
        ("float32", "abc"),
        ("bfloat16", "abc"),
    }
    assert {row["fault"] for row in rows} == {""}
    text = (tmp_path / "stress_tests.md").read_text()
    assert "| net | bfloat16 | 1x4000 pixels | 1x4000 |" in text


@pytest.mark.parametrize(
    ("change", "fault"),
    [(lambda images: images * np.nan, "not finite"), (lambda images: images * 0.9, "mean moved")],
)
def test_faults_fail_and_are_recorded(run, tmp_path, change, fault):
    code, rows = run(change)
    assert code == 1
    assert any(fault in row["fault"] for row in rows)
    assert fault in (tmp_path / "stress_tests.md").read_text()
