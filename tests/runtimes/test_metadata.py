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
        (lambda fields: fields.update(tile_shape=[64, 10**6]), "tile_shape"),
        (lambda fields: fields.update(tile_shape=[0, 64]), "tile_shape"),
        (lambda fields: fields.update(scale=0), "scale"),
        (lambda fields: fields.update(scale=1000), "scale"),
        (lambda fields: fields.update(radius=-1), "radius"),
        (lambda fields: fields.update(min_size=10**6), "min_size"),
        (lambda fields: fields.update(multiple=0), "multiple"),
        (lambda fields: fields.update(multiple=10**9), "multiple"),
        (lambda fields: fields.update(bytes_per_pixel=0), "bytes_per_pixel"),
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


def test_an_export_says_what_the_network_is(described):
    entry = catalogue.resolve("tsp_rdanet_tiny_gray")
    trained = type("Trained", (Network,), {"origin": entry.origin})
    found = metadata.describe(trained)
    assert (found.preset, found.weights, found.sha256) == (entry.preset, entry.name, entry.sha256)
    assert (found.task, found.license) == ("gaussian_noise", entry.license)
    assert (found.name, described.name) == (entry.name, "pa_edsr_x2")


def test_a_network_of_which_nothing_is_known_is_refused():
    unknown = type("Unknown", (Network,), {"origin": None, "name": "mine"})
    with pytest.raises(ValueError, match=r"mine was made by its class.*create_model"):
        metadata.describe(unknown)


@pytest.mark.parametrize(
    ("old", "new"),
    [("rain_streaks", "rain"), ("bicubic", "super_resolution"), ("haze", None), (None, None)],
)
def test_files_of_version_0_1_0_open(described, old, new):
    fields = json.loads(described.to_json()) | {"task": old, "terms": "research"}
    del fields["license"]
    found = metadata.from_json(json.dumps(fields))
    assert (found.task, found.license) == (new, "research")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "model_int8.tflite").write_bytes(b"abc")
    return tmp_path / "model_int8.tflite"


def test_the_origin_of_an_export_has_the_hash_of_its_file(described, file):
    trained = dataclasses.replace(described, weights="mine.safetensors", license="research")
    origin = metadata.image_function(trained, np.copy, file).origin
    assert (origin.preset, origin.overrides) == (described.preset, described.overrides)
    assert (origin.name, origin.license) == ("mine.safetensors", "research")
    assert origin.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_image_function_tiles_as_the_network_does(described, file):
    fixed = dataclasses.replace(described, tile_shape=(64, 48), variant="int8", task="jpeg")
    function = metadata.image_function(fixed, np.negative, file)
    assert function.name == "model_int8.tflite"
    assert (function.channels, function.scale, function.support) == (3, 2, "nonlocal")
    assert (function.multiple, function.min_size, function.tile_shape) == (4, 16, (64, 48))
    assert (function.bytes_per_pixel, function.precision) == (1000, "int8")
    assert function.task == "jpeg"
    assert function(np.float32(3)) == -3


def test_a_file_computes_in_its_own_precision(described, file):
    assert metadata.image_function(described, np.copy, file, "float32").precision == "float32"
    with pytest.raises(ValueError, match=r"model_int8.tflite computes in float32, not in bfloat16"):
        metadata.image_function(described, np.copy, file, "bfloat16")
