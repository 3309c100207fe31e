import dataclasses
import tracemalloc

import numpy as np
import pytest

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.tiling import (
    MIN_TILE,
    TILE_MEMORY,
    choose_tile,
    default_overlap,
    is_out_of_memory,
    restore_tiled,
)
from tests.inference.functions import blurring, identity


def image(height, width, channels=1, seed=0):
    values = np.random.default_rng(seed).random((height, width, channels))
    return values.astype(np.float32)


def tiled(function, source, tile, overlap=None, **options):
    """The rows that `restore_tiled` writes, put together."""
    height, width = (side * function.scale for side in source.shape[:2])
    restored = np.full((height, width, function.channels), np.nan, np.float32)

    def write(top, rows):
        restored[top : top + len(rows)] = rows

    size = tile if isinstance(tile, tuple) else (tile, tile)
    restore_tiled(function, source, size, overlap, write=write, **options)
    return restored


def whole(function, source):
    return function(source[None])[0]


def recording(function, shapes):
    def call(images):
        shapes.append(images.shape)
        return function(images)

    return dataclasses.replace(function, function=call)


@pytest.mark.parametrize("size", [(70, 53), (64, 64), (33, 200), (32, 31)])
@pytest.mark.parametrize("tile", [32, 48])
def test_tiles_of_a_local_function_give_the_whole_picture(size, tile):
    function, source = blurring(channels=3), image(*size, 3)
    np.testing.assert_allclose(tiled(function, source, tile), whole(function, source), atol=1e-6)


def test_an_overlap_below_two_radii_shows():
    function, source = blurring(times=5), image(100, 100)
    error = np.abs(tiled(function, source, 32, overlap=4) - whole(function, source)).max()
    assert error > 1e-3


def test_what_memory_does_not_suffice_for_is_refused_before_it_is_tried():
    function = identity(bytes_per_pixel=1000)
    for tile, size in (("off", (1000, 800)), (800, (1000, 1000))):
        needed = 1000 * size[0] * size[1] if tile == "off" else 1000 * tile**2
        assert choose_tile(function, *size, tile, memory=needed)
        with pytest.raises(ValueError, match=r"identity takes about 0.\d+ GB .*tile='auto'"):
            choose_tile(function, *size, tile, memory=needed - 1)
    assert choose_tile(function, 1000, 800, "off") == (1000, 800)  # not known


def test_automatic_tiles_fit_in_half_of_the_memory():
    function = identity(bytes_per_pixel=1000)
    for memory in (2**30, 2**28, 2**26):
        height, width = choose_tile(function, 4000, 4000, memory=memory)
        assert memory / 5 < 1000 * height * width <= memory / 2
    assert choose_tile(function, 4000, 4000, memory=2**40) == choose_tile(function, 4000, 4000)


def test_tiles_of_the_identity_are_exact_to_rounding():
    source = image(123, 77)
    np.testing.assert_allclose(tiled(identity(), source, 32, 16), source, rtol=3e-7)


def test_all_tiles_have_one_shape_and_lie_inside():
    shapes = []
    tiled(recording(identity(), shapes), image(100, 90), 32)
    assert set(shapes) == {(1, 32, 32, 1)}
    assert len(shapes) == 4 * 4


def test_a_picture_smaller_than_a_tile_runs_whole_and_untouched():
    shapes, source = [], image(31, 9)
    restored = tiled(recording(identity(), shapes), source, 32)
    assert shapes == [(1, 31, 9, 1)]
    np.testing.assert_array_equal(restored, source)


@pytest.mark.parametrize("height", [1, 2, 3, 7, 8, 9, 31, 33, 64])
@pytest.mark.parametrize(("multiple", "min_size"), [(1, 4), (8, 8), (16, 1)])
def test_every_size_is_padded_and_comes_back(height, multiple, min_size):
    shapes = []
    function = recording(identity(multiple=multiple, min_size=min_size), shapes)
    for width in (1, 2, 3, 7, 8, 9, 31, 33, 64):
        source = image(height, width)
        np.testing.assert_allclose(tiled(function, source, 32), source, rtol=3e-7)
    assert all(side % multiple == 0 and side >= min_size for s in shapes for side in s[1:3])


def test_starts_on_multiples_keep_the_grid_of_a_strided_function():
    def halve(images):  # every pixel of a 2x2 cell becomes the cell's mean
        n, h, w, c = images.shape
        cells = images.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return cells.repeat(2, 1).repeat(2, 2)

    function = ImageFunction(halve, channels=1, name="halve", radius=1, multiple=2)
    source = image(94, 70)
    np.testing.assert_allclose(tiled(function, source, 32), whole(function, source), rtol=1e-6)


def test_scale_enlarges_rows_and_columns():
    def double(images):
        return images.repeat(2, 1).repeat(2, 2)

    function = ImageFunction(double, channels=1, name="double", radius=0, scale=2)
    source = image(75, 50)
    np.testing.assert_allclose(tiled(function, source, 32), whole(function, source), rtol=1e-6)


def test_a_fixed_tile_shape_is_all_the_function_sees():
    shapes = []
    function = recording(identity(tile_shape=(40, 24)), shapes)
    for size in ((100, 100), (3, 5), (40, 25), (1, 400)):
        source = image(*size)
        restored = tiled(function, source, choose_tile(function, *size))
        np.testing.assert_allclose(restored, source, rtol=3e-7)
    assert set(shapes) == {(1, 40, 24, 1)}


def test_a_fixed_tile_shape_need_be_no_multiple():
    shapes, source = [], image(100, 90)
    function = recording(identity(tile_shape=(44, 36), multiple=8), shapes)
    np.testing.assert_allclose(tiled(function, source, (44, 36)), source, rtol=3e-7)
    assert set(shapes) == {(1, 44, 36, 1)}


def test_neighbours_that_disagree_fade_without_a_step():
    """Tiles that pool: each adds its own mean, a different one left and right."""

    def add_mean(images):
        return images + images.mean((1, 2), keepdims=True)

    function = ImageFunction(add_mean, channels=1, name="mean", support="global_pool")
    source = np.repeat(np.linspace(0, 1, 96, dtype=np.float32)[None], 64, 0)[..., None]
    row = tiled(function, source, 64, 32)[0, :, 0]
    steps = np.diff(row)
    assert row[0] == pytest.approx(source[:, :64].mean(), abs=1e-5)
    assert row[-1] == pytest.approx(1 + source[:, 32:].mean(), abs=1e-5)
    assert np.abs(np.diff(steps)).max() < 0.02  # a hard cut would step by 0.34


def test_rows_arrive_in_order_and_each_once():
    tops = []
    restore_tiled(
        identity(),
        image(150, 40),
        (32, 32),
        8,
        write=lambda top, rows: tops.append((top, len(rows))),
    )
    assert tops[0][0] == 0
    assert [top for top, _ in tops[1:]] == [top + rows for top, rows in tops[:-1]]
    assert sum(tops[-1]) == 150


def test_progress_counts_the_tiles():
    seen = []
    tiled(identity(), image(60, 60), 32, 8, on_tile=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 9) for i in range(9)]


def failing(function, error, at, shapes):
    """`function`, which raises `error` once, at its call number `at`."""

    def call(images):
        shapes.append(images.shape[1:3])
        if len(shapes) == at:
            raise error
        return function(images)

    return dataclasses.replace(function, function=call)


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize(
    "error",
    [
        ResourceExhaustedError("allocating a tensor"),
        MemoryError(),
        RuntimeError("CUDA_ERROR: out of memory"),
        RuntimeError("OOM when allocating tensor with shape[1,64,64]"),
    ],
)
def test_out_of_memory_halves_the_tile_and_gives_the_same_picture(error):
    function, source, shapes = blurring(), image(200, 150), []
    restored = tiled(failing(function, error, 3, shapes), source, 64)
    np.testing.assert_allclose(restored, whole(function, source), atol=1e-6)
    assert shapes[:4] == [(64, 64)] * 3 + [(32, 32)]


def test_the_size_that_sufficed_is_returned():
    function = failing(identity(), MemoryError(), 1, [])
    assert restore_tiled(function, image(99, 99), (80, 40), write=lambda *_: None) == (40, 32)


def test_no_memory_for_the_smallest_tile_is_one_error():
    def never(images):
        raise MemoryError

    with pytest.raises(OSError, match=f"Out of memory with tiles of {MIN_TILE}x{MIN_TILE}"):
        tiled(ImageFunction(never, channels=1, name="never"), image(99, 99), 64)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"):
        tiled(failing(identity(), RuntimeError("shapes differ"), 2, []), image(99, 99), 64)
    assert not is_out_of_memory(RuntimeError("no room"))


def test_memory_does_not_grow_with_the_height():
    def peak(height):
        source = np.zeros((height, 1024, 1), np.uint8)
        tracemalloc.start()
        restore_tiled(identity(), source, (64, 64), write=lambda *_: None)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    low, high = peak(256), peak(4096)
    assert high < 1.2 * low


def test_auto_takes_small_pictures_whole_and_others_by_the_memory_of_a_pixel():
    function = identity(bytes_per_pixel=TILE_MEMORY // 90_000)
    assert choose_tile(function, 300, 300) == (300, 300)
    assert choose_tile(function, 1, 4000) == (1, 4000)
    height, width = choose_tile(function, 4000, 6000)
    assert 200 < height <= 288
    assert 200 < width <= 288
    assert max(choose_tile(function, 4000, 6000, max_pixels=10_000)) == 96
    assert choose_tile(function, 4000, 100) == (284, 100)


@pytest.mark.parametrize("size", [(301, 301), (872, 1000), (600, 5000), (1411, 1411)])
@pytest.mark.parametrize("radius", [None, 0, 9])
def test_auto_computes_little_twice(size, radius):
    shapes = []
    function = identity(bytes_per_pixel=TILE_MEMORY // 90_000, radius=radius)
    source, tile = image(*size), choose_tile(function, *size)
    np.testing.assert_allclose(tiled(recording(function, shapes), source, tile), source, rtol=3e-7)
    assert len(set(shapes)) == 1
    assert len(shapes) * np.prod(shapes[0]) < 1.5 * source.size


def test_the_user_may_choose():
    assert choose_tile(identity(), 5000, 5000, "off") == (5000, 5000)
    assert choose_tile(identity(), 5000, 5000, 100) == (100, 100)
    assert choose_tile(identity(), 5000, 5000, 100, max_pixels=2500) == (50, 50)


@pytest.mark.parametrize("tile", [MIN_TILE - 1, 0, "whole", 64.0, True, None])
def test_another_tile_is_an_error(tile):
    with pytest.raises(ValueError, match="must be 'auto', 'off' or"):
        choose_tile(identity(), 100, 100, tile)


def test_tiles_of_a_function_that_compares_all_positions_fit_in_memory():
    function = identity(support="nonlocal", bytes_per_pixel=TILE_MEMORY // 10_000)
    assert choose_tile(function, 500, 500, 100) == (100, 100)
    assert choose_tile(function, 99, 101, 200) == (200, 200)  # one tile of 99x101
    with pytest.raises(ValueError, match="tiles of 101x101 pixels; take at most 100, or 'auto'"):
        choose_tile(function, 500, 500, 101)


def test_the_rows_kept_of_a_wide_enlarged_picture_fit_in_memory():
    function = identity(channels=3, scale=4, bytes_per_pixel=1024)
    height, width = choose_tile(function, 20_000, 30_000)
    assert height * 4 * 30_000 * 4 * 3 * 4 <= TILE_MEMORY
    assert 64 <= height < choose_tile(identity(bytes_per_pixel=1024), 20_000, 30_000)[0]
    assert width <= 128


def test_functions_that_cannot_take_the_whole_picture_say_so():
    nonlocal_function = identity(support="nonlocal")
    assert choose_tile(nonlocal_function, 500, 500) == (64, 64)
    with pytest.raises(ValueError, match="auto"):
        choose_tile(nonlocal_function, 500, 500, "off")
    fixed = identity(tile_shape=(64, 64))
    for tile in ("off", 128):
        with pytest.raises(ValueError, match="64x64"):
            choose_tile(fixed, 500, 500, tile)


def test_overlap_is_two_radii_where_that_fits():
    assert default_overlap(blurring(times=5), (64, 64)) == 10
    assert default_overlap(blurring(times=50), (64, 64)) == 32
    assert default_overlap(identity(support="global_pool"), (512, 512)) > 0
