import dataclasses
import json

import numpy as np
import pytest

from keras_rdanet.runtimes import metadata
from keras_rdanet.weights import catalogue


class Network:
    """What `describe` asks a network for; PA-EDSR's numbers."""

    channels, scale, support, radius, multiple, min_size = 3, 2, "nonlocal", None, 4, 16
    bytes_per_pixel = 1000


@pytest.fixture
def described():
    return metadata.describe(Network, "pa_edsr_x2", overrides={"filters": 8, "dilations": [1, 2]})


def test_json_gives_back_what_was_written(described):
    fixed = dataclasses.replace(described, tile_shape=(64, 48), variant="int8")
    assert metadata.from_json(fixed.to_json()) == fixed
    assert metadata.from_json(fixed.to_json().encode()) == fixed
    assert json.loads(fixed.to_json())["tile_shape"] == [64, 48]


def test_files_that_say_nothing_of_fine_tuning_had_none(described):
    fields = json.loads(described.to_json())
    assert fields.pop("fine_tuned") == 0
    assert metadata.from_json(json.dumps(fields)) == described


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.pop("scale"), "scale: Field required"),
        (lambda fields: fields.update(colour=3), "colour: Unexpected"),
        (lambda fields: fields.update(channels=4), "channels: "),
        (lambda fields: fields.update(scale="2"), "scale: .*integer"),
        (lambda fields: fields.update(variant="int4"), "variant: "),
        (lambda fields: fields.update(fine_tuned=True), "fine_tuned: "),
        (lambda fields: fields.update(tile_shape=[64]), "tile_shape"),
    ],
)
def test_other_keys_and_values_are_refused(described, change, message):
    fields = json.loads(described.to_json())
    change(fields)
    with pytest.raises(ValueError, match=message) as caught:
        metadata.from_json(json.dumps(fields))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="damaged: the text: Invalid JSON"):
        metadata.from_json("no json")


def test_weights_of_the_catalogue_bring_their_hash_and_terms():
    entry = catalogue.resolve("tsp_rdanet_tiny_gray")
    found = metadata.describe(Network, entry.preset, weights="tsp_rdanet_tiny_gray")
    assert (found.weights, found.sha256) == (entry.name, entry.sha256)
    assert found.terms == entry.terms
    assert found.name == entry.name


def test_a_weights_file_brings_its_name_and_hash(tmp_path, described):
    (tmp_path / "mine.safetensors").write_bytes(b"abc")
    found = metadata.describe(Network, "pa_edsr_x2", weights=tmp_path / "mine.safetensors")
    assert (found.weights, found.terms) == ("mine.safetensors", None)
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert described.name == "pa_edsr_x2"


def test_the_image_function_tiles_as_the_network_does(described):
    fixed = dataclasses.replace(described, tile_shape=(64, 48), variant="int8", task="jpeg")
    function = metadata.image_function(fixed, np.negative, "model_int8.tflite")
    assert (function.channels, function.scale, function.support) == (3, 2, "nonlocal")
    assert (function.multiple, function.min_size, function.tile_shape) == (4, 16, (64, 48))
    assert (function.bytes_per_pixel, function.precision) == (1000, "int8")
    assert function.task == "jpeg"
    assert function(np.float32(3)) == -3


def test_a_file_computes_in_its_own_precision(described):
    assert metadata.image_function(described, np.copy, "a", "float32").precision == "float32"
    with pytest.raises(ValueError, match=r"a computes in float32, not in bfloat16"):
        metadata.image_function(described, np.copy, "a", "bfloat16")
