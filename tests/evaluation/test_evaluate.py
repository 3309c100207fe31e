import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_rdanet.data.sources import folder, pairs
from keras_rdanet.evaluation.evaluate import evaluate, restore
from keras_rdanet.files import write_json
from keras_rdanet.image.io import to_samples
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.metrics import psnr
from keras_rdanet.tasks import JPEG, BayerMosaic, GaussianNoise, SuperResolution
from keras_rdanet.tasks.base import Pairs

IDENTITY = ImageFunction(lambda images: images, channels=1, name="identity", support="global_pool")


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(5)
    for name, shape in [("a.png", (40, 48)), ("b.png", (32, 36))]:
        smooth = cv2.GaussianBlur(generator.random(shape), (0, 0), 3)
        cv2.imwrite(str(tmp_path / name), np.uint8(255 * smooth))
    return folder(tmp_path)


def with_function(function):
    return dataclasses.replace(IDENTITY, function=function)


def test_doing_nothing_scores_the_noise(images):
    result = evaluate(IDENTITY, GaussianNoise(25), images)
    assert [image.name for image in result.images] == ["a.png", "b.png"]
    for image in result.images:
        assert image.psnr == image.psnr_degraded == pytest.approx(20.17, abs=0.3)
    assert result.mean("psnr") == np.mean([image.psnr for image in result.images])


def test_perfect_restoration_is_infinite(images):
    targets = iter([image / np.float32(255) for (image,) in (images.read(0), images.read(1))])
    result = evaluate(with_function(lambda _: next(targets)[None]), GaussianNoise(25), images)
    assert result.mean("psnr") == np.inf
    assert result.mean("ssim") == pytest.approx(1)


def test_two_runs_are_equal_and_hash_their_input(images):
    first, second = (evaluate(IDENTITY, GaussianNoise(25), images) for _ in range(2))
    assert first.mean("ssim") == second.mean("ssim")
    digest = hashlib.sha256()
    for sample in GaussianNoise(25).protocol().samples(images, 1):
        digest.update(repr(sample.degraded.shape).encode() + sample.degraded.tobytes())
    assert first.protocol["degraded_sha256"] == digest.hexdigest()
    other = evaluate(IDENTITY, GaussianNoise(26), images)
    assert other.protocol["degraded_sha256"] != digest.hexdigest()


def test_protocol_and_identity_are_recorded(images, tmp_path):
    result = evaluate(IDENTITY, GaussianNoise(15), images, tile=32, details={"sha256": "abc"})
    write_json(tmp_path / "out" / "scores.json", result.as_dict())
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert stored["method"]["name"] == "identity, tile 32"
    assert stored["method"]["sha256"] == "abc"
    assert stored["method"]["tile"] == 32
    assert stored["protocol"]["sigma"] == 15
    assert stored["protocol"]["crop_border"] == 0
    assert stored["protocol"]["images"] == 2
    assert stored["protocol"]["images_converted"] == 0
    assert stored["images"][1]["name"] == "b.png"
    assert stored["mean"]["psnr"] == result.mean("psnr")
    assert stored["seconds_per_image"] == np.mean([image.seconds for image in result.images])
    assert "numpy" in stored["environment"]["versions"]


def test_whole_images_by_default_and_tiles_on_request(images):
    shapes = []

    def spy(batch):
        shapes.append(batch.shape[1:3])
        return batch

    evaluate(with_function(spy), GaussianNoise(25), images)
    assert shapes == [(40, 48), (32, 36)]
    shapes.clear()
    evaluate(with_function(spy), GaussianNoise(25), images, tile=32, limit=1)
    assert set(shapes) == {(32, 32)}


def test_self_ensemble_averages_the_eight_orientations(images):
    tilt = np.linspace(0, 1, 48, dtype=np.float32)[None, None, :, None]
    calls = []

    def tilted(batch):
        calls.append(batch.shape)
        return batch + tilt[:, :, : batch.shape[2]] * 0

    result = evaluate(with_function(tilted), GaussianNoise(25), images, ensemble=True, limit=1)
    assert len(calls) == 8
    assert result.method["self_ensemble"]
    assert result.method["name"] == "identity x8"
    assert result.images[0].psnr == pytest.approx(result.images[0].psnr_degraded)


def test_odd_sizes_reach_a_strided_network_padded():
    shapes = []

    def strided(batch):
        shapes.append(batch.shape[1:3])
        return batch

    function = dataclasses.replace(with_function(strided), multiple=8)
    image = np.random.default_rng(0).random((13, 21, 1), np.float32)
    np.testing.assert_array_equal(restore(function, image), image)
    assert shapes == [(16, 24)]


def test_running_out_of_memory_is_no_silent_change_of_protocol(images):
    def hungry(batch):
        if batch.shape[2] > 40:
            raise MemoryError
        return batch

    with pytest.raises(ValueError, match=r"a.png: Not enough memory .* set `tile` to"):
        evaluate(with_function(hungry), GaussianNoise(25), images)


def test_faults_name_the_image(images):
    with pytest.raises(ValueError, match=r"a.png: .*NaN"):
        evaluate(with_function(lambda batch: batch * np.nan), GaussianNoise(25), images)


def test_scales_that_differ_are_refused(images):
    with pytest.raises(ValueError, match=r"identity enlarges images 2 times; .* asks for 1"):
        evaluate(dataclasses.replace(IDENTITY, scale=2), GaussianNoise(25), images)
    with pytest.raises(ValueError, match=r"identity enlarges images 1 times; .* asks for 3"):
        evaluate(IDENTITY, SuperResolution(3), images)


def test_pairs_and_clean_images_are_told_apart(images):
    with pytest.raises(ValueError, match=r"\(real pairs\) takes pairs"):
        evaluate(IDENTITY, Pairs(), images)
    folder = Path(images.name(0)).parent
    with pytest.raises(ValueError, match=r"Gaussian noise\) takes clean images"):
        evaluate(IDENTITY, GaussianNoise(25), pairs(folder, folder))


@pytest.mark.parametrize(
    "options", [{"ensemble": True}, {"tile": "four"}, {"tile": "chop"}], ids=str
)
def test_a_mosaic_is_neither_turned_nor_cut_inside_its_cells(images, options):
    color = dataclasses.replace(IDENTITY, channels=3)
    with pytest.raises(ValueError, match=r"Bayer mosaic must not be turned.* nor cut"):
        evaluate(color, BayerMosaic(), images, **options)
    with pytest.raises(ValueError, match="identity is gray; a Bayer mosaic is restored in RGB"):
        evaluate(IDENTITY, BayerMosaic(), images)


@pytest.mark.parametrize("tile", ["off", 32])
def test_every_tile_of_a_mosaic_starts_with_a_cell(tmp_path, tile):
    red = np.zeros((45, 51, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red)
    seen = []

    def spy(batch):
        seen.append(batch)
        return batch

    function = ImageFunction(spy, channels=3, name="spy", radius=0)
    evaluate(function, BayerMosaic(), folder(tmp_path), tile=tile)
    for batch in seen:
        assert (batch[0, ::2, ::2, 0] == 1).all()
        assert batch[0, :, :, 0].sum() == batch[0, ::2, ::2, 0].size


def nearest(scale):
    def enlarge(batch):
        return batch.repeat(scale, axis=1).repeat(scale, axis=2)

    return dataclasses.replace(IDENTITY, function=enlarge, scale=scale, name="nearest", radius=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_is_scored_beside_bicubic(images, scale):
    targets = []
    result = evaluate(
        nearest(scale),
        SuperResolution(scale),
        images,
        on_image=lambda sample, restored: targets.append((sample, restored)),
    )
    for image, (sample, restored) in zip(result.images, targets, strict=True):
        assert (image.height, image.width) == sample.target.shape[:2] == restored.shape[:2]
        assert image.height % scale == 0
        bicubic = psnr(to_samples(sample.enlarged, np.uint8), sample.target, crop_border=scale)
        assert image.psnr_degraded == pytest.approx(bicubic)
        assert image.psnr < image.psnr_degraded
    assert result.protocol["crop_border"] == scale
    assert result.as_dict()["mean"]["ssim_degraded"] == result.mean("ssim_degraded")


def test_enlarging_by_tiles_is_enlarging(images):
    whole, tiled = (
        evaluate(nearest(2), SuperResolution(2), images, tile=tile, limit=1)
        for tile in ("off", "chop")
    )
    assert whole.mean("psnr") == pytest.approx(tiled.mean("psnr"))
    assert tiled.method["name"] == "nearest, tile chop"


def test_chop_is_that_of_the_protocol():
    shapes = []

    def spy(batch):
        shapes.append(batch.shape[1:3])
        return batch

    image = np.zeros((136, 156, 1), np.float32)  # tiles of 78 x 88, 6864, then of 49 x 54
    restore(with_function(spy), image, "chop", 6400)
    restore(with_function(spy), image, "chop", 6900)
    assert shapes == [(49, 54)] * 16 + [(78, 88)] * 4
    assert GaussianNoise(25).chop_min_size == 6800
    assert JPEG(10).chop_min_size == 6400


def test_psnr_b_is_kept_where_the_protocol_has_it(images):
    result = evaluate(IDENTITY, JPEG(10), images)
    assert result.mean("psnr_b") == result.mean("psnr_b_degraded") < result.mean("psnr")
    assert result.as_dict()["mean"]["psnr_b"] == result.mean("psnr_b")
    assert "psnr_b" not in evaluate(IDENTITY, GaussianNoise(25), images).as_dict()["mean"]


def test_scoring_an_exported_file_needs_no_framework():
    code = (
        "import sys; import keras_rdanet.evaluation.evaluate, keras_rdanet.evaluation.stress_tests;"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_files_are_looked_at_before_the_first_is_restored(images):
    place = Path(images.name(0)).parent
    deep = np.zeros((30, 30), np.uint16)
    cv2.imwrite(str(place / "y.png"), deep)
    (place / "z.png").write_bytes(b"no picture")
    calls = []
    with pytest.raises(ValueError, match=r"y.png has uint16 samples; .*; .*z.png") as raised:
        evaluate(with_function(calls.append), GaussianNoise(25), folder(place))
    assert calls == []
    assert "\n" not in str(raised.value)


def test_pairs_that_do_not_fit_are_named_before_the_first_is_restored(images, tmp_path):
    source = pairs(Path(images.name(0)).parent, Path(images.name(0)).parent)
    with pytest.raises(ValueError, match=r"a.png is 48x40 and its partner 48x40 .* 2 times"):
        evaluate(dataclasses.replace(IDENTITY, scale=2), Pairs(scale=2), source)
