from pathlib import Path

import pytest

from keras_rdanet.models import registry

ROOT = Path(__file__).parents[2]
GOOD = {
    "network": "one.awgn",
    "trained": True,
    "format": "tflite",
    "variant": "int8",
    "bytes": 340_000,
    "agreement": 45.2,
    "psnr_loss": 0.1234,
    "speedup": 4.17,
    "delegate_support": {"gpu": [], "npu-int8": ["3 MEAN in float"]},
    "failures": [],
}


@pytest.fixture
def exports(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import exports

    return exports


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "-0.123 dB, 0.34 MB, 4.2x"),
        ({"psnr_loss": -0.002}, "+0.002 dB, 0.34 MB, 4.2x"),
        ({"trained": False}, "45 dB alike, 0.34 MB, 4.2x"),
        ({"trained": False, "agreement": "inf"}, "inf dB alike, 0.34 MB, 4.2x"),
        ({"failures": ["loses 1 dB"]}, ":red_circle: -0.123 dB, 0.34 MB, 4.2x"),
        ({"bytes": 0, "failures": ["no such operation"]}, ":red_circle:"),
    ],
)
def test_a_cell_says_what_a_file_is_worth(exports, change, expected):
    assert exports.cell({**GOOD, **change}) == expected


def test_the_document_has_a_line_for_each_network_and_a_reason_for_each_red_cell(exports):
    red = {**GOOD, "network": "two", "trained": False, "bytes": 0, "failures": ["no EINSUM"]}
    settings = {
        "size": 128,
        "nonlocal_size": 64,
        "pictures": 6,
        "calibration": "a",
        "test": "b",
    }
    text = exports.document([GOOD, red], settings)
    lines = text.splitlines()
    (one,) = (line for line in lines if line.startswith("| one.awgn | ") and "MB" in line)
    (two,) = (line for line in lines if line.startswith("| two, small, untrained | "))
    assert one.count("|") == two.count("|") == len(exports.WANTED) + 2
    assert "- two, tflite int8: no EINSUM" in lines
    assert "| one.awgn | int8 | fit | 3 MEAN in float |" in lines
    assert "128x128 pixels" in text


def test_rows_of_the_former_version_are_read(exports, tmp_path):
    (tmp_path / "old.json").write_text('[{"network": "one", "audit": {"gpu": ["1 SUM"]}}]')
    rows = exports.read_rows(tmp_path / "old.json")
    assert rows == [{"network": "one", "delegate_support": {"gpu": ["1 SUM"]}}]
    (tmp_path / "new.json").write_text('[{"network": "one", "delegate_support": {"gpu": []}}]')
    assert exports.read_rows(tmp_path / "new.json")[0]["delegate_support"] == {"gpu": []}


def test_every_kind_of_network_without_weights_is_there_and_takes_its_overrides(exports):
    kinds = {registry.network(name) for name in exports.UNTRAINED}
    assert {kind.__name__ for kind in kinds} == {"RDN", "MPRNet", "DANet", "PANet", "PAEDSR"}
    for name, overrides in exports.UNTRAINED.items():
        assert set(overrides) <= set(registry.network(name).PRESETS[name])
