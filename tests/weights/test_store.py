import json
import os
import struct

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_rdanet.files import file_sha256
from keras_rdanet.weights import store
from tests.mutations import mutations

METADATA = {"preset": "tinynet_gray", "overrides": {"filters": 4}, "task": "jpeg"}


def network(width=4, name="head"):
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(width, 3, name=name)(image)
    return keras.Model(image, keras.layers.Conv2D(1, 1, name="tail")(x))


@pytest.fixture
def saved(tmp_path):
    model = network()
    store.save_weights(model, tmp_path / "w.safetensors", metadata=METADATA)
    return model, tmp_path / "w.safetensors"


def crafted(path, header: bytes, length=None):
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
    return path


def test_float32_comes_back_exactly(saved):
    model, path = saved
    other = network()
    store.load_weights(other, path)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_float16_halves_the_file_and_loads_into_float32_variables(saved):
    model, path = saved
    half = path.with_name("half.safetensors")
    store.save_weights(model, half, metadata=METADATA, dtype="float16")
    other = network()
    store.load_weights(other, half)
    for mine, theirs in zip(model.weights, other.weights, strict=True):
        assert theirs.dtype == "float32"
        expected = mine.numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(theirs.numpy(), expected)
    entries = {name: array.dtype for name, array in safetensors.numpy.load_file(half).items()}
    assert set(entries.values()) == {np.dtype(np.float16)}


def test_names_in_the_file_are_variable_paths(saved):
    _, path = saved
    assert store.shapes(path) == {
        "head/kernel": (3, 3, 1, 4),
        "head/bias": (4,),
        "tail/kernel": (1, 1, 4, 1),
        "tail/bias": (1,),
    }


def test_the_same_weights_make_the_same_file(saved):
    model, path = saved
    again = path.with_name("again.safetensors")
    store.save_weights(model, again, metadata=METADATA)
    assert file_sha256(again) == file_sha256(path)


def test_metadata_says_what_was_said_and_with_which_versions(saved):
    metadata = store.read_metadata(saved[1])
    assert METADATA.items() <= metadata.items()
    assert metadata["created_with"]["keras"] == keras.__version__


def test_hash_is_verified(saved):
    model, path = saved
    good = file_sha256(path)
    store.load_weights(model, path, sha256=good)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        store.load_weights(model, path, sha256=good)


def test_every_misfit_is_listed_and_nothing_is_loaded(saved):
    _, path = saved
    other = network(width=5, name="trunk")
    before = other.get_weights()
    with pytest.raises(ValueError) as error:
        store.load_weights(other, path)
    text = str(error.value)
    assert "missing: trunk/bias, trunk/kernel" in text
    assert "unused: head/bias, head/kernel" in text
    assert "tail/kernel is (1, 1, 4, 1) instead of (1, 1, 5, 1)" in text
    for mine, theirs in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_non_finite_weights_are_neither_written_nor_loaded(saved):
    model, path = saved
    tensors = store.read_tensors(path)
    tensors["head/bias"][2] = np.nan
    path.write_bytes(safetensors.numpy.save(tensors))
    with pytest.raises(ValueError, match="head/bias"):
        store.load_weights(model, path)
    model.get_layer("tail").bias.assign([7e4])  # finite in float32 only
    target = path.with_name("new.safetensors")
    with pytest.raises(ValueError, match="float16: tail/bias"):
        store.save_weights(model, target, metadata=METADATA, dtype="float16")
    assert not target.exists()


def test_an_interrupted_write_keeps_the_old_file(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        store.save_weights(model, path, metadata={**METADATA, "task": "rain"})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_two_weights_of_one_path_are_refused(tmp_path):
    class Twins(keras.layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape=(1,), name="w")
            self.b = self.add_weight(shape=(1,), name="w")

        def call(self, x):
            return x * self.a + self.b

    image = keras.Input((1,))
    model = keras.Model(image, Twins(name="twins")(image))
    with pytest.raises(ValueError, match="share a path"):
        store.save_weights(model, tmp_path / "w.safetensors", metadata=METADATA)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{}", 2**60),  # absurd length
        (b"x" * 100, None),
        (b"[1, 2]", None),
        (b"{}", 40),  # longer than the file
        (b"[" * 100_000, None),  # nested beyond the parser
        (json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9]}}).encode(), None),
        (
            json.dumps(
                {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
            ).encode(),
            None,
        ),
    ],
)
def test_crafted_headers_are_refused(tmp_path, header, length):
    with pytest.raises(ValueError, match="safetensors"):
        store.read_tensors(crafted(tmp_path / "w.safetensors", header, length))


def layout(*entries):
    names = "abc"[: len(entries)]
    return {
        n: {"dtype": "F32", "shape": s, "data_offsets": o}
        for n, (s, o) in zip(names, entries, strict=True)
    }


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ([([2], [0, 8]), ([2], [8, 16])], 20),  # padded
        ([([2], [0, 8]), ([2], [12, 20])], 20),  # a gap
        ([([2], [0, 8]), ([2], [4, 12])], 12),  # overlapping
        ([([2], [0, 8]), ([2], [8, 16])], 12),  # beyond the end
        ([([2], [0, 8]), ([2**40], [8, 16])], 16),  # more numbers than bytes
        ([([-2], [0, -8])], 0),
        ([([2], [8, 0])], 8),
        ([([2.0], [0, 8])], 7),
    ],
)
def test_arrays_that_do_not_fill_the_file_are_refused_by_its_header(tmp_path, entries, size):
    header = json.dumps(layout(*entries)).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    for read in (store.shapes, store.read_metadata, store.read_tensors):
        with pytest.raises(ValueError, match=r"w\.safetensors is damaged"):
            read(path)


def test_a_file_with_a_hole_is_refused_before_it_is_read(tmp_path):
    numbers = 2**31
    header = json.dumps(layout(([numbers], [0, 4 * numbers]))).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + 4 * numbers)
    with pytest.raises(ValueError, match="B are stored"):
        store.shapes(path)


def test_truncated_and_empty_files_are_refused(saved):
    model, path = saved
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="safetensors"):
            store.load_weights(model, path)


def test_other_dtypes_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3, np.int64)}))
    with pytest.raises(ValueError, match="I64"):
        store.read_tensors(path)
    with pytest.raises(ValueError, match="dtype"):
        store.write_tensors(path, {}, METADATA, dtype="int8")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {store.METADATA_KEY: "{"},
        {store.METADATA_KEY: "[]"},
        {store.METADATA_KEY: '{"format_version": 1, "preset": "a", "overrides": []}'},
        {store.METADATA_KEY: '{"format_version": 2, "preset": "a", "overrides": {}}'},
    ],
)
def test_a_file_from_elsewhere_has_no_preset(tmp_path, metadata):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3, np.float32)}, metadata))
    with pytest.raises(ValueError, match="which preset"):
        store.read_metadata(path)


@pytest.mark.parametrize("value", [513, -(10**9), float("nan"), {"a": 1}, None, [3, 10**6]])
def test_overrides_that_ask_for_a_huge_network_are_refused(tmp_path, value):
    path = tmp_path / "w.safetensors"
    tensors = {"a": np.zeros(3, np.float32)}
    metadata = {"preset": "a", "overrides": {"filters": value}}
    with pytest.raises(ValueError, match="override filters"):
        store.write_tensors(path, tensors, metadata)
    header = {store.METADATA_KEY: json.dumps({"format_version": 1, **metadata})}
    path.write_bytes(safetensors.numpy.save(tensors, header))
    with pytest.raises(ValueError, match="override filters"):
        store.read_metadata(path)


def test_the_hash_of_a_folder_sees_names_and_contents(tmp_path):
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "a"
    file.write_bytes(b"one")
    first = file_sha256(tmp_path)
    assert first == file_sha256(str(tmp_path))
    file.write_bytes(b"two")
    assert file_sha256(tmp_path) != first
    file.write_bytes(b"one")
    file.rename(tmp_path / "a")
    assert file_sha256(tmp_path) != first


def test_whatever_is_wrong_with_a_weights_file_is_said_in_words_that_name_it(saved):
    model, path = saved
    header, whole = path.read_bytes()[:700], path.read_bytes()
    for content in [*mutations(whole, 100), *(m + whole[700:] for m in mutations(header, 200))]:
        path.write_bytes(content)
        for read in (
            store.read_metadata,
            store.shapes,
            lambda path: store.load_weights(model, path),
        ):
            try:
                read(path)
            except ValueError as error:
                assert "w.safetensors" in str(error)  # noqa: PT017 (some damage does no harm)


@pytest.mark.timeout(20)
def test_a_pipe_with_the_name_of_weights_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(OSError, match="is not a regular file"):
        store.read_metadata(tmp_path / "w.safetensors")
