import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.color import luma
from keras_rdanet.image.io import Metadata, Picture
from keras_rdanet.inference import restorer as module
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.mosaic import spread
from keras_rdanet.inference.restorer import Restorer
from tests.inference.functions import blur, blurring, identity


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.5, 0.4, shape).astype(np.float32)


def samples(height, width, channels, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).random((height, width, channels))
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


# --- arrays


@pytest.mark.parametrize("shape", [(20, 31), (20, 31, 1), (3, 20, 31, 1), (1, 1), (5, 1, 1)])
def test_an_array_comes_back_restored_in_its_shape(shape):
    image = floats(*shape)
    before = image.copy()
    restored = Restorer(blurring(times=1))(image)
    batch = (
        image.reshape(-1, *shape[-3:-1], 1) if image.ndim == 4 else image.reshape(1, *shape[:2], 1)
    )
    np.testing.assert_array_equal(restored, blur(batch).reshape(shape))
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(image, before)


def test_values_outside_are_kept():
    image = floats(9, 8, 3)
    assert image.min() < 0
    assert image.max() > 1
    np.testing.assert_array_equal(Restorer(identity(3))(image), image)


def test_other_floats_are_accepted():
    assert Restorer(identity())(np.ones((4, 4))).dtype == np.float32


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.int32), TypeError, "got int32"),
        (np.zeros((4, 4), bool), TypeError, "got bool"),
        (None, TypeError, "got object"),
        (np.zeros((4, 4, 4), np.float32), ValueError, r"shape \(4, 4, 4\)"),
        (np.zeros(4, np.float32), ValueError, r"shape \(4,\)"),
        (np.zeros((1, 2, 4, 4, 3), np.float32), ValueError, "shape"),
        (np.zeros((0, 4, 3), np.float32), ValueError, "not empty"),
        (np.zeros((0, 4), np.float32), ValueError, "not empty"),
        (np.full((4, 4, 3), np.nan, np.float32), ValueError, "NaN"),
        (np.full((4, 4, 3), np.inf, np.float32), ValueError, "not finite"),
    ],
)
def test_other_arrays_are_one_clear_error(image, error, message):
    with pytest.raises(error, match=message):
        Restorer(identity(3))(image)


# --- gray and RGB


def test_gray_goes_through_an_rgb_network_and_comes_back_as_luma():
    weights = np.float32([0.5, 1.0, 1.5])
    function = ImageFunction(lambda x: x * weights, channels=3, name="tint")
    image = floats(6, 7, 1)
    expected = image * luma(weights[None, None])[0, 0]
    np.testing.assert_allclose(Restorer(function)(image), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_survives_an_rgb_identity(dtype):
    picture = Picture(samples(40, 30, 1, dtype))
    np.testing.assert_array_equal(Restorer(identity(3)).picture(picture).samples, picture.samples)


def test_rgb_with_a_gray_network_is_an_error():
    with pytest.raises(ValueError, match="this one is RGB; use an RGB model"):
        Restorer(identity(1))(floats(4, 4, 3))


# --- pictures


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_in_its_depth_with_alpha_and_metadata(dtype, channels):
    alpha = samples(50, 40, 1, dtype, seed=1)[..., 0]
    alpha[alpha == 0] = 1  # hidden samples are another test's
    picture = Picture(samples(50, 40, channels, dtype), alpha, Metadata(icc=b"profile"))
    restored = Restorer(blurring(channels, times=1), tile=32).picture(picture)
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    expected = blur(picture.samples[None] / np.float32(white))[0] * white
    assert restored.samples.dtype == dtype
    np.testing.assert_allclose(restored.samples, expected, atol=1e-5 if white == 1 else 0.51)
    np.testing.assert_array_equal(restored.alpha, alpha)
    assert restored.metadata == picture.metadata


def test_integers_are_clipped_and_floats_are_not():
    function = ImageFunction(lambda x: 3 * x - 1, channels=1, name="contrast")
    restored = Restorer(function).picture(Picture(np.array([[[0], [128], [255]]], np.uint8)))
    assert restored.samples.ravel().tolist() == [0, 129, 255]
    values = np.array([[[0.0], [1.0]]], np.float32)
    assert Restorer(function).picture(Picture(values)).samples.ravel().tolist() == [-1, 2]


def test_hidden_colours_do_not_bleed_and_stay():
    rgb = np.full((20, 20, 3), 100, np.uint8)
    alpha = np.full((20, 20), 255, np.uint8)
    rgb[:, 10:] = (255, 0, 255)
    alpha[:, 10:] = 0
    restored = Restorer(blurring(3, times=2)).picture(Picture(rgb, alpha))
    np.testing.assert_array_equal(restored.samples[4:16, 4:10], 100)
    np.testing.assert_array_equal(restored.samples[:, 10:], rgb[:, 10:])


def test_a_picture_that_is_all_transparent_is_left_alone():
    picture = Picture(samples(9, 9, 3), np.zeros((9, 9), np.uint8))
    np.testing.assert_array_equal(Restorer(blurring(3)).picture(picture).samples, picture.samples)


def test_a_picture_with_nan_is_an_error():
    values = samples(9, 9, 1, np.float32)
    values[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Restorer(identity()).picture(Picture(values))


def test_tiles_report_their_progress():
    seen = []
    Restorer(identity(), tile=32).picture(Picture(samples(40, 40, 1)), lambda *n: seen.append(n))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- super-resolution


def doubling(channels=3, **fields):
    def function(images):
        return images.repeat(2, axis=1).repeat(2, axis=2)

    return ImageFunction(function, channels, name="double", radius=0, scale=2, **fields)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("tile", ["auto", 32])
def test_an_enlarged_picture_has_its_alpha_at_its_size(dtype, tile):
    picture = Picture(samples(50, 41, 3, dtype), samples(50, 41, 1, dtype, seed=1)[..., 0])
    picture.alpha[:, :20] = picture.alpha.max()
    restored = Restorer(doubling(), tile=tile).picture(picture)
    assert (restored.samples.dtype, restored.alpha.dtype) == (dtype, dtype)
    visible = picture.alpha[..., None] > 0
    expected = np.where(visible, picture.samples, 0).repeat(2, 0).repeat(2, 1)
    shown = np.where(visible.repeat(2, 0).repeat(2, 1), restored.samples, 0)
    np.testing.assert_allclose(shown, expected, rtol=1e-6)
    np.testing.assert_array_equal(restored.alpha[:, :38], picture.alpha.max())
    means = restored.alpha.astype(float).reshape(50, 2, 41, 2).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), picture.alpha.ravel())[0, 1] > 0.9


def test_a_transparent_picture_is_enlarged_as_well():
    restored = Restorer(doubling()).picture(Picture(samples(9, 7, 3), np.zeros((9, 7), np.uint8)))
    assert (restored.samples.shape, restored.alpha.any()) == ((18, 14, 3), False)


def test_gray_is_enlarged_by_an_rgb_network():
    picture = Picture(samples(9, 7, 1))
    restored = Restorer(doubling()).picture(picture)
    np.testing.assert_array_equal(restored.samples, picture.samples.repeat(2, 0).repeat(2, 1))


def test_exif_says_the_new_size():
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA002: 7, 0xA003: 9})
    metadata = Metadata(exif=exif.tobytes(), icc=b"profile")
    picture = Picture(samples(9, 7, 3), metadata=metadata)
    written = Restorer(doubling()).picture(picture).metadata
    read = Image.Exif()
    read.load(written.exif)
    assert dict(read.get_ifd(0x8769)) == {0xA002: 14, 0xA003: 18}
    assert written.icc == b"profile"


@pytest.mark.parametrize("strength", [0, 0.5])
def test_an_enlarging_network_has_no_strength(strength):
    for restoring in (
        lambda restorer: restorer(floats(4, 4)),
        lambda restorer: restorer.picture(Picture(samples(4, 4, 3))),
    ):
        with pytest.raises(ValueError, match="double enlarges 2 times; only strength 1"):
            restoring(Restorer(doubling(), strength=strength))


# --- arrays of integers and PIL images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (2, 9, 8, 1)])
def test_integers_come_back_as_they_are_rounded_and_clipped(dtype, shape):
    white = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, white, shape, dtype, endpoint=True)
    double = ImageFunction(
        lambda images: 2 * images - 0.25, shape[-1] if len(shape) > 2 else 1, "double"
    )
    restored = Restorer(double)(image)
    expected = np.clip(np.rint(2 * image.astype(float) - 0.25 * white), 0, white)
    assert (restored.dtype, restored.shape) == (dtype, shape)
    assert np.abs(restored - expected).max() <= (dtype == np.uint16)  # float32 has 24 bits


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "P", "RGB", "RGBA"])
def test_a_pil_image_comes_back_as_one(mode):
    samples = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    image = Image.fromarray(samples if "A" in mode else samples[..., :3])
    image = image.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    image.info = {"dpi": (72, 72), "comment": "any"}
    restored = Restorer(identity(3))(image)
    expected = {"1": "L", "P": "RGB"}.get(mode, mode)
    assert (restored.mode, restored.size) == (expected, (8, 9))
    np.testing.assert_array_equal(np.asarray(restored), np.asarray(image.convert(expected)))
    assert restored.info == {"dpi": (72, 72)}


def test_the_alpha_channel_of_a_pil_image_stays_and_hides_what_it_hid():
    samples = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    samples[..., 3] = np.arange(8) * 30
    dark = ImageFunction(lambda images: 0 * images, 3, "dark")
    restored = np.asarray(Restorer(dark)(Image.fromarray(samples)))
    np.testing.assert_array_equal(restored[..., 3], samples[..., 3])
    np.testing.assert_array_equal(restored[:, 0], samples[:, 0])
    assert restored[:, 1:, :3].max() == 0


def test_a_pil_image_of_another_mode_says_how_to_convert_it():
    with pytest.raises(ValueError, match=r"got CMYK; `image\.convert\('RGB'\)`"):
        Restorer(identity(3))(Image.new("CMYK", (4, 4)))


def test_floats_of_0_to_255_are_warned_of_and_those_of_images_are_not(recwarn):
    image = floats(8, 8, 3)
    Restorer(identity(3))(image + 0.5 * np.random.default_rng(0).normal(size=image.shape))
    assert not recwarn
    with pytest.warns(UserWarning, match=r"divide by 255"):
        Restorer(identity(3))(255 * image)


# --- mosaics


def box(images):
    return np.stack([cv2.blur(one, (3, 3), borderType=cv2.BORDER_REFLECT_101) for one in images])


def mean_of_recorded(images):
    """The mean of the recorded samples around, if the mosaic starts with RGGB."""
    recorded = spread(np.ones_like(images[0]))[None].repeat(len(images), axis=0)
    assert not images[recorded == 0].any()
    return box(images) / box(recorded)


DEMOSAIC = ImageFunction(mean_of_recorded, channels=3, name="mean", radius=1)


def flat_mosaic(pattern, height, width, color, dtype=np.uint8):
    rows, columns = np.indices((height, width)) % 2
    channel = np.array(["rgb".index(letter) for letter in pattern]).reshape(2, 2)[rows, columns]
    return np.array(color, dtype)[channel][..., None]


@pytest.mark.parametrize("pattern", ["rggb", "grbg", "gbrg", "bggr"])
@pytest.mark.parametrize(("size", "tile"), [((45, 51), "auto"), ((70, 67), 32), ((33, 40), 33)])
def test_a_mosaic_of_a_flat_colour_is_that_colour(pattern, size, tile):
    samples = flat_mosaic(pattern, *size, (30, 120, 250))
    alpha = np.full(size, 9, np.uint8)
    alpha[5:9] = 0
    picture = Picture(samples, alpha, Metadata(icc=b"of gray", xmp=b"<x/>"))
    restored = Restorer(DEMOSAIC, tile=tile, mosaic=pattern).picture(picture)
    assert restored.samples.shape == (*size, 3)
    np.testing.assert_array_equal(restored.samples.reshape(-1, 3), [(30, 120, 250)] * np.prod(size))
    np.testing.assert_array_equal(restored.alpha, alpha)
    assert (restored.metadata.icc, restored.metadata.xmp) == (None, b"<x/>")


def test_an_rgb_picture_can_hold_a_mosaic():
    gray = flat_mosaic("gbrg", 9, 8, (0.1, 0.5, 0.9), np.float32)
    restorer = Restorer(DEMOSAIC, mosaic="gbrg")
    expected = restorer(gray[..., 0])
    assert expected.shape == (9, 8, 3)
    np.testing.assert_allclose(expected, np.broadcast_to([0.1, 0.5, 0.9], (9, 8, 3)), atol=1e-6)
    np.testing.assert_array_equal(restorer(gray.repeat(3, axis=-1)), expected)
    np.testing.assert_array_equal(restorer(gray[None]), expected[None])


def test_what_a_mosaic_does_not_bear_is_refused():
    with pytest.raises(ValueError, match="cannot be turned"):
        Restorer(DEMOSAIC, mosaic="rggb", self_ensemble=True)
    with pytest.raises(ValueError, match="rggb, grbg, gbrg, bggr, got 'gray'"):
        Restorer(DEMOSAIC, mosaic="gray")
    with pytest.raises(ValueError, match="mean demosaics; only strength 1"):
        Restorer(DEMOSAIC, mosaic="rggb", strength=0)(floats(4, 4))
    with pytest.raises(ValueError, match="this one is a mosaic; use an RGB model"):
        Restorer(identity(1), mosaic="rggb")(floats(4, 4))
    with pytest.raises(ValueError, match="identity was trained for jpeg, not for mosaics"):
        Restorer(identity(3, task="jpeg"), mosaic="rggb")(floats(4, 4))
    with pytest.raises(ValueError, match=r"identity restores Bayer mosaics; .*--mosaic\) rggb"):
        Restorer(identity(3, task="bayer_mosaic"))(floats(4, 4, 3))


# --- strength


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_strength_0_is_the_input_bit_for_bit(dtype):
    picture = Picture(samples(40, 30, 3, dtype), samples(40, 30, 1, dtype)[..., 0])
    restored = Restorer(blurring(3), strength=0).picture(picture)
    np.testing.assert_array_equal(restored.samples, picture.samples)
    image = floats(8, 8)
    np.testing.assert_array_equal(Restorer(blurring(), strength=0)(image), image)


def test_the_distance_to_the_input_grows_with_the_strength():
    picture = Picture(samples(40, 30, 1))
    distances = [
        np.abs(
            Restorer(blurring(), strength=strength).picture(picture).samples.astype(float)
            - picture.samples
        ).mean()
        for strength in (0, 0.01, 0.25, 0.5, 0.75, 1)
    ]
    assert distances == sorted(distances)
    assert distances[3] == pytest.approx(distances[5] / 2, rel=0.02)


def test_half_strength_is_half_way():
    image = floats(8, 8)
    full = Restorer(blurring(), strength=1)(image)
    np.testing.assert_allclose(
        Restorer(blurring(), strength=0.5)(image), (image + full) / 2, atol=1e-6
    )


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.1}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"precision": "float64"}, "precision"),
        ({"tile": 5}, "tile"),
    ],
)
def test_other_options_are_errors_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Restorer(identity(), **options)


def test_an_unknown_name_is_an_error_at_once():
    with pytest.raises(ValueError, match="no_such_network"):
        Restorer("no_such_network")


def test_a_function_keeps_its_precision():
    bfloat16 = identity(precision="bfloat16")
    for dtype in (np.uint8, np.float32):
        assert Restorer(bfloat16).function_for(1, dtype).precision == "bfloat16"
    with pytest.raises(ValueError, match="computes in bfloat16"):
        Restorer(bfloat16, precision="float32")


def test_self_ensemble_averages_the_eight_orientations():
    spike = np.zeros((9, 9), np.float32)
    spike[4, 4] = 1
    restored = Restorer(blurring(times=1), self_ensemble=True)(spike)
    np.testing.assert_allclose(restored, restored.T, atol=1e-7)
    np.testing.assert_allclose(restored, restored[::-1], atol=1e-7)
    assert restored.sum() == pytest.approx(1)


# --- by name


@pytest.fixture
def opened(monkeypatch):
    """Names instead of networks: what `open_model` is asked for, and a stand-in that scales."""
    asked = []

    def open_by_name(name, precision, trust):
        asked.append((name, precision))
        channels = 1 if "gray" in name else 3
        factor = np.float32("nan") if precision == "bfloat16" and "frail" in name else 1
        return ImageFunction(lambda x: x * factor, channels, name, precision=precision)

    families = {"net": ("net_gray", "net_rgb"), "frail": ("frail_gray", "frail_rgb")}
    monkeypatch.setattr(module, "family_members", families.get)
    monkeypatch.setattr(module, "rgb_sibling", {"net_gray": "net_rgb"}.get)
    monkeypatch.setattr(module, "open_model", open_by_name)
    monkeypatch.setattr(module, "is_file", lambda name: False)
    monkeypatch.setattr(module.catalogue, "resolve", lambda name: name)
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: True)
    return asked


def test_a_family_opens_what_the_picture_needs_and_only_once(opened):
    restorer = Restorer("net")
    assert opened == []
    for _ in range(2):
        restorer.picture(Picture(samples(5, 5, 1)))
    restorer.picture(Picture(samples(5, 5, 3)))
    assert opened == [("net_gray", "bfloat16"), ("net_rgb", "bfloat16")]


@pytest.mark.parametrize(
    ("precision", "dtype", "expected"),
    [
        ("auto", np.uint8, "bfloat16"),
        ("auto", np.uint16, "float32"),
        ("auto", np.float32, "float32"),
        ("float32", np.uint8, "float32"),
        ("bfloat16", np.uint16, "bfloat16"),
    ],
)
def test_auto_precision_is_bfloat16_for_8_bit_pictures(opened, precision, dtype, expected):
    restorer = Restorer("net", precision=precision)
    assert restorer.function_for(3, dtype).precision == expected


def test_auto_precision_is_float32_where_the_processor_has_no_bfloat16(opened, monkeypatch):
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)
    assert Restorer("net").function_for(3, np.uint8).precision == "float32"


def test_the_rgb_sibling_is_named(opened):
    with pytest.raises(ValueError, match="this one is RGB; use net_rgb"):
        Restorer("net_gray")(floats(4, 4, 3))


def test_a_tile_that_overflows_is_computed_in_float32(opened, caplog):
    picture = Picture(samples(9, 9, 1))
    restored = Restorer("frail").picture(picture)
    np.testing.assert_array_equal(restored.samples, picture.samples)
    assert opened == [("frail_gray", "bfloat16"), ("frail_gray", "float32")]
    assert "overflowed in bfloat16" in caplog.text


def test_values_that_stay_not_finite_are_one_error():
    broken = ImageFunction(lambda x: x * np.float32("inf"), channels=1, name="broken")
    with pytest.raises(ValueError, match="broken gave values that are not finite"):
        Restorer(broken)(np.ones((4, 4), np.float32))


def test_a_network_by_name_of_the_package_restores(tmp_path):
    from keras_rdanet.models import registry
    from keras_rdanet.weights import store

    path = tmp_path / "mine.safetensors"
    model = registry.build("tsp_rdanet_tiny_rgb", filters=8)
    metadata = {"preset": "tsp_rdanet_tiny_rgb", "overrides": {"filters": 8}, "task": "jpeg"}
    store.save_weights(model, path, metadata=metadata)
    assert Restorer(path).function_for(3, np.float32).task == "jpeg"
    image = floats(21, 14, 3)
    expected = model.image_function()(image[None])[0]
    np.testing.assert_allclose(Restorer(path)(image), expected, atol=1e-6)
    np.testing.assert_allclose(Restorer(model)(image), expected, atol=1e-6)
    half = Restorer(path, precision="bfloat16")(image)
    assert 0 < np.abs(half - expected).max() < 0.1


# --- memory and threads


def test_the_tile_that_sufficed_is_kept_for_the_next_picture():
    shapes = []

    def small_memory(images):
        shapes.append(images.shape[1:3])
        if images.shape[1] > 50:
            raise MemoryError
        return images

    restorer = Restorer(ImageFunction(small_memory, channels=1, name="small"))
    picture = Picture(samples(80, 80, 1))
    for _ in range(2):
        np.testing.assert_array_equal(restorer.picture(picture).samples, picture.samples)
    assert shapes.count((80, 80)) == 1


def test_threads_share_one_restorer_and_one_tile_at_a_time():
    busy = threading.Lock()

    def alone(images):
        assert busy.acquire(blocking=False), "two tiles at once"
        try:
            return blur(images)
        finally:
            busy.release()

    function = dataclasses.replace(blurring(times=1), function=alone)
    restorer = Restorer(function, tile=32)
    images = [floats(70, 70, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        restored = list(pool.map(restorer, images))
    for image, result in zip(images, restored, strict=True):
        np.testing.assert_allclose(result, blur(image[None, ..., None])[0, ..., 0], atol=1e-6)
