import sys

import numpy as np
import tensorflow as tf


def test_this_is_not_the_main_environment():
    assert tuple(map(int, tf.__version__.split(".")[:2])) <= (2, 17)
    assert "keras_rdanet" not in sys.modules


def test_floats_match(saved_model, loaded):
    expected = saved_model[1]
    serve = loaded.signatures["serving_default"]
    restored = serve(degraded=tf.constant(expected["degraded"]))["restored"]
    np.testing.assert_allclose(restored, expected["restored"], rtol=0, atol=1e-5)


def test_bytes_of_integers_match(saved_model, loaded):
    expected = saved_model[1]
    serve = loaded.signatures["serve_uint8"]
    restored = serve(degraded=tf.constant(expected["degraded_uint8"]))["restored"].numpy()
    assert np.abs(restored.astype(int) - expected["restored_uint8"]).max() <= 1
    assert (restored != expected["restored_uint8"]).mean() < 0.01  # where rounding was on the edge


def test_encoded_pictures_match(saved_model, loaded):
    expected = saved_model[1]
    encoded = tf.constant([expected["degraded_png"].tobytes()])
    (png,) = loaded.signatures["serve_bytes"](degraded_bytes=encoded)["restored_bytes"].numpy()
    restored = tf.io.decode_png(png).numpy()
    assert restored.shape == expected["restored_uint8"].shape[1:]
    assert np.abs(restored.astype(int) - expected["restored_uint8"][0]).max() <= 1
