import time
from dataclasses import replace

import numpy as np
import pytest

from keras_rdanet.data.sources import ImageSource, folder
from keras_rdanet.evaluation import stress_tests
from keras_rdanet.export.verification import comparison
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.tasks import GaussianNoise, SuperResolution
from tests.inference.functions import blurring, identity


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of three gray pictures of 64x80, 48x48 and 20x90 pixels."""
    path = tmp_path_factory.mktemp("pictures")
    values = np.random.default_rng(0)
    for name, shape in [("a", (64, 80)), ("b", (48, 48)), ("c", (20, 90))]:
        samples = values.integers(64, 192, (*shape, 1), np.uint8)
        write_picture(path / f"{name}.png", Picture(samples))
    return path


@pytest.fixture
def reference(pictures):
    """Blurring as a network."""
    function = blurring(times=1)
    protocol = GaussianNoise(10).protocol()
    samples = comparison.crops(protocol, folder(pictures), function, 48, limit=9)
    return comparison.Reference(function, samples, protocol.scoring)


def shifted(function, by):
    return replace(function, function=lambda images: function.function(images) + np.float32(by))


def test_crops_come_from_the_middle_of_pictures_that_are_large_enough(pictures):
    protocol, source = GaussianNoise(10).protocol(), folder(pictures)
    samples = comparison.crops(protocol, source, identity(), 48, limit=9)
    assert [sample.name for sample in samples] == ["a.png", "b.png"]
    whole = next(iter(protocol.samples(source, 1)))
    np.testing.assert_array_equal(samples[0].degraded, whole.degraded[8:56, 16:64])
    np.testing.assert_array_equal(samples[0].target, whole.target[8:56, 16:64])
    assert len(comparison.crops(protocol, source, identity(), 48, limit=1)) == 1


def test_targets_of_enlarging_networks_are_cut_where_their_inputs_are(pictures):
    source = ImageSource((pictures / "a.png",))
    protocol = SuperResolution(2).protocol()
    (sample,) = comparison.crops(protocol, source, identity(scale=2), 24, limit=1)
    whole = next(iter(protocol.samples(source, 1)))
    np.testing.assert_array_equal(sample.degraded, whole.degraded[0:24, 8:32])
    np.testing.assert_array_equal(sample.target, whole.target[0:48, 16:64])


def test_pictures_that_are_all_too_small_are_refused(pictures):
    with pytest.raises(ValueError, match="No picture is as large as 100x100"):
        comparison.crops(GaussianNoise(10).protocol(), folder(pictures), identity(), 100, limit=1)


def test_the_same_function_differs_in_nothing(reference):
    found, first = comparison.measure(reference.function, reference)
    assert (found.max_abs_error, found.psnr_loss, found.faults) == (0, 0, {})
    assert (found.agreement, found.pictures) == (np.inf, 2)
    np.testing.assert_array_equal(first, reference.restored[0])


def test_a_shift_is_measured(reference):
    found, _ = comparison.measure(shifted(reference.function, 0.005), reference)
    assert found.max_abs_error == pytest.approx(0.005, abs=1e-6)
    assert found.agreement == pytest.approx(20 * np.log10(200), abs=0.01)
    assert 0 < abs(found.psnr_loss) < 1
    assert found.psnr_loss == pytest.approx(found.psnr_float - found.psnr)


def test_only_what_the_network_does_not_do_itself_is_a_fault(reference):
    found, _ = comparison.measure(shifted(reference.function, 0.05), reference)
    assert "black" in found.faults  # the mean moved by 13 gray levels
    bad = replace(reference, function=shifted(reference.function, 0.05))
    found, _ = comparison.measure(bad.function, bad)
    assert found.faults == {}


def test_values_that_are_not_finite_are_a_fault_and_no_score(reference):
    def broken(images):
        restored = reference.function(images)
        restored[:, 0, 0] = np.nan
        return restored

    found, _ = comparison.measure(replace(reference.function, function=broken), reference)
    assert not found.max_abs_error < 1
    assert found.faults["middle gray"] == "not finite"


def test_a_slow_file_is_measured_on_less_and_says_so(reference):
    called = []

    def slow(images):
        called.append(images.shape)
        time.sleep(0.02)
        return reference.function(images)

    found, _ = comparison.measure(
        replace(reference.function, function=slow), reference, time_budget=0.0
    )
    assert (found.pictures, found.stress_cases, len(called)) == (1, 1, 2)
    assert found.seconds > 0.02
    assert found.speedup < 1


def test_a_file_of_fixed_size_sees_two_tiles_of_what_repeats(reference):
    called = []

    def counting(images):
        called.append(images.shape)
        return reference.function(images)

    tiled = replace(reference.function, function=counting, tile_shape=(48, 48))
    found, _ = comparison.measure(tiled, reference)
    assert found.stress_cases == len(stress_tests.cases(tiled.channels))
    assert set(called) == {(1, 48, 48, 1)}
    assert len(called) < 150  # 300 with all of the pictures of 4000 pixels


def test_enlarging_files_are_compared_too(pictures):
    def twice(images):
        return images.repeat(2, axis=1).repeat(2, axis=2)

    function = replace(identity(scale=2), function=twice)
    protocol = SuperResolution(2).protocol()
    samples = comparison.crops(protocol, folder(pictures), function, 24, limit=2)
    found, _ = comparison.measure(
        function, comparison.Reference(function, samples, protocol.scoring)
    )
    assert (found.max_abs_error, found.faults) == (0, {})


def test_another_size_is_refused(reference):
    smaller = replace(reference.function, function=lambda images: images[:, :-1], tile_shape=None)
    with pytest.raises(ValueError):
        comparison.measure(smaller, reference)


def test_files_with_8_bit_samples_are_compared_on_8_bit_pictures(pictures):
    protocol = GaussianNoise(50).protocol()  # leaves the range
    function = blurring(times=1)
    samples = comparison.crops(protocol, folder(pictures), function, 48, limit=9)
    rounded = comparison.Reference(function, samples, protocol.scoring).in_eight_bits
    seen = rounded.samples[0].degraded
    assert samples[0].degraded.max() > 1
    np.testing.assert_array_equal(
        seen, np.rint(255 * np.clip(samples[0].degraded, 0, 1)) / np.float32(255)
    )
    np.testing.assert_array_equal(rounded.restored[0], function(seen[None])[0])
    assert rounded.samples[0].target is samples[0].target


def parity(**fields):
    good = {
        "max_abs_error": 1e-6,
        "agreement": 120.0,
        "psnr_float": 30.0,
        "psnr": 30.0,
        "pictures": 3,
        "seconds": 0.25,
        "speedup": 2.0,
        "stress_cases": 20,
    }
    return comparison.Parity(**{**good, **fields})


def test_a_file_within_its_tolerance_fails_in_nothing():
    tolerance = Tolerance(0.1, max_abs_error=1e-4)
    assert comparison.failures(parity(psnr=29.9 + 1e-9, max_abs_error=1e-4), tolerance) == ()


def test_what_exceeds_the_tolerance_is_said_in_words():
    found = comparison.failures(parity(psnr=29.899), Tolerance(0.1))
    assert found == ("loses 0.101 dB, 0.1 allowed",)
    found = comparison.failures(parity(max_abs_error=1.1e-4), Tolerance(0.1, max_abs_error=1e-4))
    assert found == ("differs by 1.1e-04, 1e-04 allowed",)


def test_what_is_not_a_number_fails_and_so_do_new_faults():
    limited = Tolerance(0.01, max_abs_error=1e-4)
    assert comparison.failures(parity(max_abs_error=np.nan), limited) != ()
    assert comparison.failures(parity(psnr=np.nan), limited) != ()
    assert comparison.failures(parity(faults={"black": "grew"}), limited) == ("black: grew",)


def test_the_psnr_of_an_untrained_network_counts_for_nothing():
    assert comparison.failures(parity(psnr=9.0), Tolerance(0.3), trained=False) == ()
