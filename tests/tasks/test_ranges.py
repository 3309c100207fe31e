import numpy as np
import pytest
import tensorflow as tf

from keras_rdanet.tasks.ranges import check_range, draw, draw_whole

IMAGES = tf.zeros((400, 1, 1, 1))


def test_a_number_is_the_same_for_all():
    assert set(draw(2.5, IMAGES, [1, 2]).numpy()) == {2.5}
    assert set(draw_whole(3, IMAGES, [1, 2]).numpy()) == {3}


def test_a_range_is_drawn_uniformly():
    drawn = draw((-10, 30), IMAGES, [1, 2]).numpy()
    np.testing.assert_allclose(np.quantile(drawn, [0, 0.5, 1]), [-10, 10, 30], atol=3)
    whole = draw_whole((2, 5), IMAGES, [1, 2]).numpy()
    np.testing.assert_allclose(np.bincount(whole), [0, 0, 100, 100, 100, 100], atol=30)


@pytest.mark.parametrize("value", [5, 2.5, (0, 9), [1.5, 1.5], (np.float32(1), np.int64(2))])
def test_numbers_and_ranges_pass(value):
    check_range("x", value, "a number of 0-9", low=0, high=9)


@pytest.mark.parametrize("value", [-1, 10, (3, 2), (), (1, 2, 3), "5", None, float("nan")])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"`x` must be a number of 0-9 or a range \(low, high\)"):
        check_range("x", value, "a number of 0-9", low=0, high=9)


@pytest.mark.parametrize("value", [float("inf"), (0, float("inf"))])
def test_endless_ranges_are_refused(value):
    with pytest.raises(ValueError, match="`x` must be"):
        check_range("x", value, "a number")


def test_whole_numbers_only_where_they_are_meant():
    with pytest.raises(ValueError, match="`x` must be"):
        check_range("x", 2.0, "an integer", whole=True)
