import json
import subprocess
import sys

import pytest

from keras_rdanet.export.formats.registry import FORMATS, select
from keras_rdanet.runtimes.metadata import VARIANTS


def tolerances():
    return {
        (format.name, name): (variant.tolerance.psnr_loss, variant.tolerance.max_abs_error)
        for format in FORMATS.values()
        for name, variant in format.variants.items()
    }


def test_every_file_has_its_tolerance():
    assert tolerances() == {
        ("saved_model", "fp32"): (0.01, 1e-5),
        ("onnx", "fp32"): (0.01, 1e-4),
        ("onnx", "int8"): (0.3, None),
        ("tflite", "fp32"): (0.01, 1e-4),
        ("tflite", "fp16"): (0.02, None),
        ("tflite", "dynamic"): (0.1, None),
        ("tflite", "int8"): (0.3, None),
        ("tflite", "int8_uint8"): (0.3, None),
        ("tflite", "int16x8"): (0.1, None),
    }


def test_every_variant_says_what_it_computes_in_and_some_format_has_it():
    assert {variant for _, variant in tolerances()} == set(VARIANTS)


def test_files_are_named_for_their_variant_and_folders_for_their_format():
    assert FORMATS["onnx"].file_name("int8") == "model_int8.onnx"
    assert FORMATS["saved_model"].file_name("fp32") == "saved_model"


def test_the_table_loads_no_framework():
    code = (
        "import json, sys\n"
        "from keras_rdanet.export.formats.registry import FORMATS\n"
        "print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frameworks = {"tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "jax"}
    assert frameworks & set(json.loads(done.stdout)) == set()


def test_files_are_made_in_the_order_of_the_table():
    chosen = select(("tflite", "onnx"), ("int8", "fp32", "dynamic"), has_pictures=True)
    assert chosen == [
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("tflite", "fp32"),
        ("tflite", "dynamic"),
        ("tflite", "int8"),
    ]


def test_by_default_all_files_are_made():
    assert select(has_pictures=True) == list(tolerances())
    assert select(variants=["fp16"], has_pictures=False) == [("tflite", "fp16")]


@pytest.mark.parametrize(
    ("formats", "variants", "message"),
    [
        (["onnx", "pdf"], None, "`formats` must be among saved_model, onnx, tflite; got 'pdf'"),
        (None, ["int4"], "`variants` must be among fp32, .*; got 'int4'"),
        (["saved_model", "onnx"], ["int8"], "saved_model comes as fp32"),
    ],
)
def test_what_does_not_exist_is_refused(formats, variants, message):
    with pytest.raises(ValueError, match=message):
        select(formats, variants, has_pictures=True)


@pytest.mark.parametrize(
    ("formats", "variants", "fine_tune", "message"),
    [
        (None, None, 0, r"int8, int8_uint8, int16x8: .* \(--variants fp32,fp16,dynamic\)"),
        (["onnx"], ["int8"], 0, r"int8: ranges are measured on clean .* \(--calibration\)\.$"),
        (["onnx"], ["fp32"], 3, "Fine-tuning learns from clean pictures"),
    ],
)
def test_what_needs_pictures_is_refused_without(formats, variants, fine_tune, message):
    with pytest.raises(ValueError, match=message):
        select(formats, variants, has_pictures=False, fine_tune=fine_tune)
