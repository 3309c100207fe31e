import gc
import time

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.data.input_wait import InputWait
from keras_rdanet.data.pipeline import batches
from keras_rdanet.data.sources import ImageSource, folder, pairs
from keras_rdanet.tasks.gaussian_noise import GaussianNoise


def silent(target, seed):
    return target


def write(path, image):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def numbered(height, width, number):
    """Make an image whose pixels tell their row, their column and the image's number."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=-1).astype(np.uint8)


@pytest.fixture
def clean(tmp_path):
    for number, (height, width) in enumerate([(20, 31), (40, 16), (16, 16), (33, 29), (25, 25)]):
        write(tmp_path / "clean" / f"{number}.png", numbered(height, width, number))
    return folder(tmp_path / "clean")


def options(**changes):
    defaults = {
        "patch_size": 16,
        "batch_size": 4,
        "channels": 3,
        "degrade": GaussianNoise((0, 50)),
        "seed": 5,
    }
    return defaults | changes


def collect(dataset):
    return [tuple(part.numpy() for part in batch) for batch in dataset]


def assert_equal(batches_a, batches_b):
    assert len(batches_a) == len(batches_b)
    for a, b in zip(batches_a, batches_b, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_patches_are_turned_and_flipped_crops_of_the_images(clean):
    seen = set()
    for _, target in collect(batches(clean, steps=60, **options(degrade=silent, batch_size=8))):
        for patch in np.round(target * 255).astype(int):
            rows, columns, number = np.moveaxis(patch, -1, 0)
            assert (number == number[0, 0]).all()
            by_row = rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0]
            by_column = rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0]
            i, j = np.mgrid[:16, :16]
            np.testing.assert_array_equal(rows, rows[0, 0] + i * by_row[0] + j * by_column[0])
            np.testing.assert_array_equal(columns, columns[0, 0] + i * by_row[1] + j * by_column[1])
            seen.add((by_row, by_column))
    steps = [(1, 0), (-1, 0)], [(0, 1), (0, -1)]
    assert seen == {(a, b) for a in steps[0] for b in steps[1]} | {
        (b, a) for a in steps[0] for b in steps[1]
    }


def test_crops_reach_every_corner_and_no_further(tmp_path):
    write(tmp_path / "clean" / "a.png", numbered(19, 18, 0))
    data = batches(folder(tmp_path / "clean"), steps=40, augment=False, **options(degrade=silent))
    corners = {tuple(np.round(p[0, 0, :2] * 255).astype(int)) for _, t in data for p in t.numpy()}
    assert corners == {(row, column) for row in range(4) for column in range(3)}


def test_every_epoch_uses_every_image_equally_in_another_order(clean):
    data = batches(clean, steps=10, crops_per_image=1, **options(degrade=silent))
    order = [round(patch[0, 0, 2] * 255) for _, target in data for patch in target.numpy()]
    epochs = [tuple(order[i : i + 5]) for i in range(0, 40, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(epochs)) > 4


def test_an_image_stays_for_as_many_steps_as_crops_are_asked(clean):
    data = collect(batches(clean, steps=6, crops_per_image=3, **options(degrade=silent)))
    numbers = [tuple(np.round(target[:, 0, 0, 2] * 255)) for _, target in data]
    assert numbers[0] == numbers[1] == numbers[2] != numbers[3] == numbers[4] == numbers[5]
    assert not np.array_equal(data[0][1], data[1][1])


@pytest.mark.parametrize("start", [1, 8, 13])
def test_a_run_resumed_at_a_step_sees_the_same_batches(clean, start):
    whole = collect(batches(clean, steps=16, **options()))
    resumed = collect(batches(clean, start_step=start, steps=16 - start, **options()))
    assert_equal(resumed, whole[start:])


def test_the_cache_does_not_change_the_batches(clean):
    assert_equal(
        collect(batches(clean, steps=9, cache="none", **options())),
        collect(batches(clean, steps=9, cache="ram", **options())),
    )


def test_datasets_of_a_source_share_its_decoded_images(clean, monkeypatch):
    decoded = []
    read = ImageSource.read
    monkeypatch.setattr(ImageSource, "read", lambda self, i: (decoded.append(i), read(self, i))[1])
    phases = [batches(clean, steps=2, **options(patch_size=size)) for size in (8, 16)]
    assert sorted(decoded) == [0, 1, 2, 3, 4]
    del phases
    gc.collect()
    batches(clean, steps=2, **options())
    assert len(decoded) == 10


@pytest.mark.parametrize(("budget", "kept"), [(40 * 40 * 3, True), (40 * 40 * 3 - 1, False)])
def test_auto_keeps_images_that_fit_the_budget(tmp_path, monkeypatch, budget, kept):
    write(tmp_path / "clean" / "a.png", numbered(40, 40, 0))
    decoded = []
    read = ImageSource.read
    monkeypatch.setattr(ImageSource, "read", lambda self, i: (decoded.append(i), read(self, i))[1])
    monkeypatch.setattr("keras_rdanet.data.pipeline.CACHE_BUDGET", budget)
    changes = options(batch_size=1, workers=1)
    collect(batches(folder(tmp_path / "clean"), steps=16, crops_per_image=8, **changes))
    assert (len(decoded) == 1) == kept


def test_another_seed_gives_other_batches(clean):
    one, other = (collect(batches(clean, steps=1, **options(seed=s)))[0] for s in (1, 2))
    assert not np.array_equal(one[1], other[1])


def test_noise_differs_between_steps(clean):
    options_ = options(degrade=GaussianNoise(25))
    noise = [degraded - target for degraded, target in collect(batches(clean, steps=2, **options_))]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert noise[0].std() * 255 == pytest.approx(25, rel=0.05)


def test_pairs_share_crop_and_transform_and_keep_their_sides(tmp_path):
    for number in range(3):
        target = numbered(24, 20, number)
        write(tmp_path / "clean" / f"{number}.png", target)
        write(tmp_path / "noisy" / f"{number}.png", target + np.uint8([1, 2, 3]))
    source = pairs(tmp_path / "noisy", tmp_path / "clean")
    for cache in ("ram", "none"):
        for degraded, target in batches(source, steps=4, cache=cache, **options(degrade=None)):
            difference = np.round((degraded - target) * 255)
            np.testing.assert_array_equal(difference, np.broadcast_to([1, 2, 3], target.shape))


def test_pairs_of_a_scale_share_crop_and_transform(tmp_path):
    for number in range(3):
        small = numbered(14, 11, number)
        write(tmp_path / "small" / f"{number}.png", small)
        write(tmp_path / "large" / f"{number}.png", small.repeat(3, axis=0).repeat(3, axis=1))
    source = pairs(tmp_path / "small", tmp_path / "large", scale=3)
    for cache in ("ram", "none"):
        made = options(degrade=None, patch_size=24, scale=3)
        seen = []
        for degraded, target in batches(source, steps=4, cache=cache, **made):
            assert degraded.shape == (4, 8, 8, 3)
            enlarged = np.repeat(np.repeat(degraded, 3, axis=1), 3, axis=2)
            np.testing.assert_array_equal(enlarged, target)
            seen.append(degraded.numpy())
        assert len(np.unique(np.concatenate(seen)[:, 0, 0], axis=0)) > 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 2}, r"2 of 2 pairs are not of `scale` 2: .* is 11x14, its target 33x42"),
        ({"scale": 3, "patch_size": 16}, "`patch_size` 16 must be a multiple of `scale` 3"),
    ],
)
def test_pairs_of_another_scale_are_refused(tmp_path, changes, message):
    for number in range(2):
        write(tmp_path / "small" / f"{number}.png", numbered(14, 11, number))
        write(tmp_path / "large" / f"{number}.png", numbered(42, 33, number))
    source = pairs(tmp_path / "small", tmp_path / "large", scale=3)
    with pytest.raises(ValueError, match=message):
        batches(source, **options(degrade=None, **changes))


def test_gray_is_bt601_luma(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    write(tmp_path / "clean" / "a.png", color)
    data = batches(
        folder(tmp_path / "clean"), steps=1, augment=False, **options(degrade=silent, channels=1)
    )
    gray = next(iter(data))[1][0, ..., 0].numpy() * 255
    np.testing.assert_allclose(gray, color @ [0.299, 0.587, 0.114], atol=0.51)


def test_sixteen_bits_keep_their_precision_beside_eight(tmp_path):
    write(tmp_path / "clean" / "deep.png", np.full((16, 16, 3), 257 * 100 + 1, np.uint16))
    write(tmp_path / "clean" / "shallow.png", np.full((16, 16, 3), 100, np.uint8))
    for cache in ("ram", "none"):
        data = batches(folder(tmp_path / "clean"), steps=1, cache=cache, **options(degrade=silent))
        levels = np.unique(next(iter(data))[1])
        np.testing.assert_allclose(levels, [100 / 255, (257 * 100 + 1) / 65535], rtol=1e-6)


def test_shapes_are_static_and_the_number_of_batches_is_known(clean):
    data = batches(clean, steps=3, **options())
    assert data.element_spec == (tf.TensorSpec((4, 16, 16, 3)), tf.TensorSpec((4, 16, 16, 3)))
    assert data.cardinality() == 3
    assert batches(clean, **options()).cardinality() == tf.data.INFINITE_CARDINALITY


def test_images_smaller_than_a_patch_are_listed(clean):
    with pytest.raises(ValueError, match=r"2 of 5 images are smaller .*1\.png is 16x40; .*2\.png"):
        batches(clean, **options(patch_size=17))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 4}, "`channels`"),
        ({"degrade": None}, "GaussianNoise"),
        ({"cache": "disk"}, "`cache`"),
    ],
)
def test_wrong_options_are_refused(clean, change, message):
    with pytest.raises(ValueError, match=message):
        batches(clean, **options(**change))


def sleeping(seconds):
    """Make a function of a tensor that takes that long inside a graph."""

    def sleep(x):
        time.sleep(seconds)
        return x

    return lambda x: tf.ensure_shape(tf.numpy_function(sleep, [x], tf.float32), (2, 3))


class Slow(keras.layers.Layer):
    def __init__(self, seconds):
        super().__init__()
        self.sleep = sleeping(seconds)

    def call(self, x):
        return x + 0 * tf.stop_gradient(self.sleep(x))


def fit_and_measure(input_seconds, step_seconds):
    """Return what was waited in ten steps, and how long they took."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), Slow(step_seconds)])
    model.compile("sgd", "mse")
    fetch = sleeping(input_seconds)
    data = tf.data.Dataset.range(10).map(lambda i: (fetch(tf.ones((2, 3))), tf.ones((2, 3))))
    wait = InputWait()
    watched = wait.watch(data)
    model.fit(watched.take(1), verbose=0, shuffle=False)  # compiles
    wait.reset()
    began = time.perf_counter()
    model.fit(watched, verbose=0, shuffle=False)
    return wait, time.perf_counter() - began


def test_input_wait_sees_a_slow_input_in_fit():
    wait, seconds = fit_and_measure(input_seconds=0.03, step_seconds=0)
    assert 0.3 <= wait.seconds <= seconds
    assert wait.share() == pytest.approx(wait.seconds / seconds, rel=0.2)


def test_input_wait_does_not_count_slow_steps():
    wait, _ = fit_and_measure(input_seconds=0, step_seconds=0.05)
    assert wait.share() < 0.4


def test_input_wait_leaves_the_batches_as_they_are(clean):
    data = batches(clean, steps=3, **options())
    watched = InputWait().watch(data)
    assert_equal(collect(watched), collect(data))
    assert watched.element_spec == data.element_spec
    assert watched.cardinality() == 3
    endless = batches(clean, **options())
    assert InputWait().watch(endless).cardinality() == tf.data.INFINITE_CARDINALITY


def test_floats_that_are_not_between_0_and_1_are_warned_of(tmp_path):
    image = np.full((20, 20, 3), 200, np.float32)
    cv2.imwrite(str(tmp_path / "large.tiff"), image)
    with pytest.warns(UserWarning, match=r"from 200 to 200 where \[0, 1\] is expected; divide"):
        collect(batches(folder(tmp_path), **options(steps=1, cache="ram")))
