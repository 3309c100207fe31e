import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.data.packed import open_folder, pack, packed
from keras_rdanet.data.pipeline import batches
from keras_rdanet.data.sources import folder, pairs


def write(path, image):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def noise(height, width, seed, dtype=np.uint8):
    levels = np.iinfo(dtype).max + 1
    return np.random.default_rng(seed).integers(0, levels, (height, width, 3), dtype)


@pytest.fixture
def clean(tmp_path):
    for seed, size in enumerate([(50, 40), (32, 32), (20, 70)]):
        write(tmp_path / "clean" / f"{seed}.png", noise(*size, seed))
    return folder(tmp_path / "clean")


def pack_small(source, out, **options):
    pack(source, out, **{"tile_size": 32, "overlap": 8, **options})
    return packed(out)


def test_tiles_are_lossless_and_cover_every_pixel(clean, tmp_path):
    source = pack_small(clean, tmp_path / "set")
    assert len(source) == 4 + 1 + 3
    tiles = [source.read(i)[0] for i in range(len(source))]
    first = noise(50, 40, 0)
    corners = [(0, 0), (0, 8), (18, 0), (18, 8)]
    for tile, (top, left) in zip(tiles, corners, strict=False):
        np.testing.assert_array_equal(tile, first[top : top + 32, left : left + 32])
    np.testing.assert_array_equal(tiles[4], noise(32, 32, 1))
    third = noise(20, 70, 2)  # lower than a tile
    for tile, left in zip(tiles[5:], (0, 24, 38), strict=True):
        np.testing.assert_array_equal(tile, third[:, left : left + 32])


def test_headers_tell_what_reading_gives(clean, tmp_path):
    source = pack_small(clean, tmp_path / "set")
    for index in range(len(source)):
        ((header,), (tile,)) = source.headers(index), source.read(index)
        assert (header.height, header.width, header.channels) == tile.shape
        assert header.dtype == tile.dtype


def test_sixteen_bit_pairs_keep_depth_and_sides(tmp_path):
    clean, noisy = noise(40, 40, 1), noise(40, 40, 2, np.uint16)
    write(tmp_path / "clean" / "a.png", clean)
    write(tmp_path / "noisy" / "a.png", noisy)
    source = pack_small(pairs(tmp_path / "noisy", tmp_path / "clean"), tmp_path / "set")
    degraded, target = source.read(len(source) - 1)
    np.testing.assert_array_equal(degraded, noisy[8:, 8:])
    np.testing.assert_array_equal(target, clean[8:, 8:])
    options = {"patch_size": 32, "batch_size": 2, "channels": 3, "seed": 0, "augment": False}
    for degraded, target in batches(source, steps=4, **options):
        for patch, clean_patch in zip(degraded.numpy(), target.numpy(), strict=True):
            row, column = np.argwhere((clean == np.round(clean_patch[0, 0] * 255)).all(-1))[0]
            expected = noisy[row : row + 32, column : column + 32] / 65535
            np.testing.assert_allclose(patch, expected, atol=1e-6)


def test_tiles_of_a_scale_lie_on_each_other(tmp_path):
    small = noise(25, 21, 1)
    write(tmp_path / "small" / "a.png", small)
    write(tmp_path / "large" / "a.png", small.repeat(2, axis=0).repeat(2, axis=1))
    source = pack_small(pairs(tmp_path / "small", tmp_path / "large", 2), tmp_path / "set")
    assert len(source) == 4
    for index in range(4):
        headers, (degraded, target) = source.headers(index), source.read(index)
        np.testing.assert_array_equal(target, degraded.repeat(2, axis=0).repeat(2, axis=1))
        assert [(h.height, h.width) for h in headers] == [degraded.shape[:2], target.shape[:2]]
    data = batches(source, patch_size=16, batch_size=1, channels=3, scale=2, seed=0, steps=1)
    assert next(iter(data))[0].shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match="multiples of the scale of the pairs, 2"):
        pack_small(pairs(tmp_path / "small", tmp_path / "large", 2), tmp_path / "b", overlap=3)


def test_gray_sets_hold_the_luma(clean, tmp_path):
    source = pack_small(clean, tmp_path / "set", gray=True)
    expected = noise(32, 32, 1) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(source.read(4)[0][..., 0], expected, atol=0.51)


def test_shards_are_closed_at_their_size_and_are_plain_tfrecords(tmp_path):
    for seed in range(4):
        write(tmp_path / "clean" / f"{seed}.png", noise(512, 512, seed))
    source = pack_small(folder(tmp_path / "clean"), tmp_path / "set", tile_size=512, shard_mb=1)
    shards = sorted((tmp_path / "set").glob("*.tfrecord"))
    assert [shard.name for shard in shards] == ["00000.tfrecord", "00001.tfrecord"]
    records = tf.data.TFRecordDataset([str(shard) for shard in shards])  # checks the CRCs
    for index, record in enumerate(records):
        example = tf.train.Example.FromString(record.numpy())
        stored = example.features.feature["target"].bytes_list.value[0]
        assert stored.endswith(source.read(index)[0].tobytes())


def test_the_manifest_lists_images_and_counts(clean, tmp_path):
    pack_small(clean, tmp_path / "set")
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["format"], manifest["num_images"], manifest["num_tiles"]) == (1, 3, 8)
    assert [image["name"] for image in manifest["images"]] == [str(path) for path in clean.paths]
    assert all(image["channels"] == 3 for image in manifest["images"])


def test_a_resumed_run_sees_the_same_batches_from_ram_and_from_shards(clean, tmp_path):
    source = pack_small(clean, tmp_path / "set")
    options = {"patch_size": 16, "batch_size": 3, "channels": 3, "seed": 1}
    options |= {"degrade": lambda target, seed: target, "crops_per_image": 2}
    whole = [target.numpy() for _, target in batches(source, steps=9, cache="ram", **options)]
    resumed = batches(source, start_step=5, steps=4, cache="none", **options)
    for (_, target), expected in zip(resumed, whole[5:], strict=True):
        np.testing.assert_array_equal(target, expected)


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_byte, r"00000\.tfrecord has another SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"00000\.tfrecord has \d+ bytes"),
        (lambda path: path.unlink(), r"00000\.tfrecord is missing"),
    ],
)
def test_a_damaged_shard_is_refused_by_name(clean, tmp_path, damage, message):
    pack_small(clean, tmp_path / "set")
    damage(tmp_path / "set" / "00000.tfrecord")
    with pytest.raises(ValueError, match=message):
        packed(tmp_path / "set")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "manifest.json is damaged"),
        ('{"format": 1}', "manifest.json is damaged"),
        ('{"format": 99}', "not of format 1"),
        (None, "has no manifest.json"),
    ],
)
def test_a_wrong_manifest_is_refused(clean, tmp_path, content, message):
    pack_small(clean, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(ValueError, match=message):
        packed(tmp_path / "set")


def test_packing_never_adds_to_a_folder(clean, tmp_path):
    with pytest.raises(ValueError, match="exists already"):
        pack(clean, tmp_path / "clean")


def test_a_failed_pack_leaves_nothing(clean, tmp_path):
    clean.paths[2].write_bytes(clean.paths[2].read_bytes()[:100])
    with pytest.raises(ValueError, match=r"2\.png"):
        pack(clean, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]


def test_a_folder_opens_as_what_it_is(clean, tmp_path):
    pack_small(clean, tmp_path / "set")
    assert len(open_folder(tmp_path / "set")) == 8
    assert len(open_folder(tmp_path / "clean")) == 3
