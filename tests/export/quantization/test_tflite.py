from keras_rdanet.export.quantization import ranges, tflite
from keras_rdanet.export.quantization.tflite import MixedPrecision
from tests.export.quantization.files import operations


def test_what_chooses_and_moves_values_takes_integers(content, extremes):
    found = ranges.ranges_of(content, extremes)
    full = operations(tflite.to_full_int8(content, found))
    assert {"REDUCE_MAX", "DEPTH_TO_SPACE"} <= set(full)
    assert "DEQUANTIZE" not in full


def test_layers_of_mixed_precision_stay_in_float(content, extremes):
    found = ranges.ranges_of(content, extremes)
    kept = tflite.to_int8(content, found, MixedPrecision(layers=("head", "tail")))
    assert operations(kept).count("CONV_2D") == 2
