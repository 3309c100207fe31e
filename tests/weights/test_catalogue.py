import dataclasses
import json

import numpy as np
import pytest

import keras_rdanet
from keras_rdanet.files import file_sha256
from keras_rdanet.weights import catalogue, store


def entry_of(folder, preset, tag, default=False):
    """An entry with a real file in `folder`."""
    file = folder / "files" / f"{preset}.{tag}.safetensors"
    weights = {"head/kernel": np.full((3, 3, 1, 4), len(tag), np.float32)}
    store.write_tensors(file, weights, {"preset": preset}, "float16")
    return catalogue.Entry(
        preset=preset,
        tag=tag,
        task="gaussian_noise",
        description="denoising, Gaussian, sigma 0-50",
        channels=1,
        default=default,
        file=file.name,
        sha256=file_sha256(file),
        bytes=file.stat().st_size,
        parameters=36,
        data="a set",
        license="research and education",
        config="configs/a.yaml",
        created="2026-01-02",
        cost={"hours": 1.5},
        scores=({"data": "bsd68", "sigma": 25.0, "images": 68, "psnr": 28.5, "ssim": 0.8},),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "catalogue.json").write_text('{"weights": []}')
    catalogue.add(entry_of(tmp_path, "a_gray", "awgn", default=True), tmp_path)
    catalogue.add(entry_of(tmp_path, "a_gray", "real"), tmp_path)
    catalogue.add(entry_of(tmp_path, "b_gray", "real"), tmp_path)
    return tmp_path


def test_entries_come_back_as_they_were_added(folder):
    expected = entry_of(folder, "a_gray", "awgn", default=True)
    assert catalogue.list_models(folder)[0] == expected
    assert [e.name for e in catalogue.list_models(folder)] == [
        "a_gray.awgn",
        "a_gray.real",
        "b_gray.real",
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [("a_gray.real", "a_gray.real"), ("a_gray.awgn", "a_gray.awgn"), ("a_gray", "a_gray.awgn")],
)
def test_a_name_without_tag_means_the_default_weights(folder, name, found):
    assert catalogue.resolve(name, folder).name == found


@pytest.mark.parametrize("name", ["b_gray", "a_gray.awg", "c", ""])
def test_unknown_names_list_the_known_ones(folder, name):
    with pytest.raises(ValueError, match=r"known: a_gray\.awgn, a_gray\.real, b_gray\.real"):
        catalogue.resolve(name, folder)


def test_an_empty_catalogue_lists_nothing_and_says_so(tmp_path):
    (tmp_path / "catalogue.json").write_text('{"weights": []}')
    assert catalogue.list_models(tmp_path) == []
    with pytest.raises(ValueError, match="none in this version"):
        catalogue.resolve("a_gray", tmp_path)


def test_a_changed_file_is_noticed(folder):
    entry = catalogue.resolve("a_gray", folder)
    catalogue.verify(entry, folder)
    file = catalogue.path(entry, folder)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="damaged"):
        catalogue.verify(entry, folder)


def test_adding_replaces_the_entry_of_that_name(folder):
    entry = dataclasses.replace(catalogue.resolve("a_gray.real", folder), license="others")
    catalogue.add(entry, folder)
    assert len(catalogue.list_models(folder)) == 3
    assert catalogue.resolve("a_gray.real", folder).license == "others"


def test_a_preset_has_one_default(folder):
    before = (folder / "catalogue.json").read_text()
    with pytest.raises(ValueError, match=r"a_gray\.awgn is already the default"):
        catalogue.add(entry_of(folder, "a_gray", "jpeg", default=True), folder)
    assert (folder / "catalogue.json").read_text() == before


def test_adding_checks_the_file(folder):
    entry = dataclasses.replace(catalogue.resolve("a_gray", folder), sha256="0" * 64)
    with pytest.raises(ValueError, match="damaged"):
        catalogue.add(entry, folder)


def test_what_ships_is_whole_and_described():
    for entry in keras_rdanet.list_models():
        catalogue.verify(entry)
        file = catalogue.path(entry)
        assert file.stat().st_size == entry.bytes
        assert sum(int(np.prod(shape)) for shape in store.shapes(file).values()) == entry.parameters
        metadata = store.read_metadata(file)
        assert (metadata["preset"], metadata["overrides"]) == (entry.preset, entry.overrides)
        assert (metadata["task"], metadata["description"]) == (entry.task, entry.description)
        assert entry.data
        assert entry.license
        assert entry.scores


def test_every_file_that_ships_is_in_the_catalogue():
    listed = {entry.file for entry in keras_rdanet.list_models()}
    assert {file.name for file in (catalogue.FOLDER / "files").glob("*")} == listed
    assert json.loads((catalogue.FOLDER / "catalogue.json").read_text()).keys() == {"weights"}


@pytest.mark.parametrize(
    "file",
    [
        "../a.safetensors",
        "/etc/a.safetensors",
        "b/../../a.safetensors",
        "..\\a.safetensors",
        "c:a.safetensors",
        "catalogue.json",
        "..",
        "",
    ],
)
def test_no_entry_leads_out_of_the_folder(folder, file):
    entry = dataclasses.replace(entry_of(folder, "a_gray", "awgn"), file=file)
    for use in (catalogue.path, catalogue.verify, catalogue.add):
        with pytest.raises(ValueError, match="not a file in its folder"):
            use(entry, folder)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weights": [1]}', '{"weights": [{"a": 1}]}', "[" * 9999]
)
def test_a_damaged_catalogue_is_named(tmp_path, text):
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(ValueError, match=r"catalogue\.json is damaged"):
        catalogue.list_models(tmp_path)
