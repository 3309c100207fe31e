import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from keras_rdanet.cli import models
from keras_rdanet.weights.catalogue import Entry, list_models


@pytest.fixture
def entries():
    shared = {
        "preset": "a_gray",
        "task": "gaussian_noise",
        "description": "denoising, sigma 0-50",
        "channels": 1,
        "file": "f",
        "sha256": "0" * 64,
        "data": "a set",
        "config": "c.yaml",
        "created": "2026-01-02",
    }
    scores = tuple(
        {"data": data, "sigma": sigma, "images": 68, "psnr": psnr, "ssim": 0.9}
        for data, sigma, psnr in (
            ("bsd68", 15.0, 31.256),
            ("bsd68", 25.0, 28.7),
            ("set12", 25.0, 29),
        )
    )
    big = Entry(
        **shared,
        tag="awgn",
        default=True,
        bytes=356_789,
        parameters=178_180,
        license="research and education",
        scores=scores,
    )
    small = Entry(**shared, tag="b", default=False, bytes=1000, parameters=5, license="any | use")
    return [big, small]


def test_table_for_the_terminal(entries):
    lines = models.text_table(entries).splitlines()
    columns = ["name", "description", "parameters", "size"]
    columns += ["PSNR in dB at sigma or quality", "license"]
    assert re.split(r"\s{2,}", lines[0]) == columns
    assert re.split(r"\s{2,}", lines[1]) == [
        "a_gray.awgn *",
        "denoising, sigma 0-50",
        "178,180",
        "0.36 MB",
        "bsd68 15: 31.26, 25: 28.70; set12 25: 29.00",
        "research and education",
    ]
    assert lines[2].startswith("a_gray.b       denoising")


def test_table_for_a_document(entries):
    lines = models.markdown_table(entries).splitlines()
    assert len(lines) == 4
    assert lines[2] == (
        "| a_gray.awgn * | denoising, sigma 0-50 | 178,180 | 0.36 MB "
        "| bsd68 15: 31.26, 25: 28.70; set12 25: 29.00 | research and education |"
    )
    assert lines[3].endswith(r"| any \| use |")


def test_no_weights_is_said_in_words():
    assert models.text_table([]) == "No weights ship with this version."


def test_json_holds_every_shipped_entry():
    result = CliRunner().invoke(models.models, ["--json"])
    assert result.exit_code == 0
    listed = json.loads(result.output)
    assert [entry["name"] for entry in listed] == [entry.name for entry in list_models()]
    assert all({"sha256", "license", "data", "scores", "cost"} <= set(entry) for entry in listed)


@pytest.mark.parametrize(
    ("arguments", "make"),
    [([], models.text_table), (["--markdown"], models.markdown_table)],
)
def test_the_command_prints_the_shipped_weights(arguments, make):
    result = CliRunner().invoke(models.models, arguments)
    assert result.exit_code == 0
    assert result.output.rstrip("\n") == make(list_models())


def test_scores_without_a_level_and_by_quality(entries):
    scores = ({"data": "cc15", "psnr": 37.206}, {"data": "classic5", "quality": 10, "psnr": 29.1})
    entry = replace(entries[0], scores=scores)
    assert models.scores(entry) == "cc15 37.21; classic5 10: 29.10"
