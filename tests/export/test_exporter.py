import json

import numpy as np
import pytest

from keras_rdanet.export import exporter as publish
from keras_rdanet.export import job as prepare
from keras_rdanet.export.verification import report as reporting
from keras_rdanet.export.verification.report import Gate
from keras_rdanet.files import file_sha256
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.inference.open import open_model
from keras_rdanet.models import registry
from keras_rdanet.runtimes import metadata as meta
from keras_rdanet.runtimes.litert import _text
from keras_rdanet.runtimes.metadata import from_json
from keras_rdanet.weights import store

SAVED_MODEL = ("saved_model", "fp32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two gray pictures of 64x64 pixels."""
    path = tmp_path_factory.mktemp("pictures")
    for index in range(2):
        samples = np.random.default_rng(index).integers(0, 256, (64, 64, 1), np.uint8)
        write_picture(path / f"{index}.png", Picture(samples))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network with one block of 8 filters."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    overrides = {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}
    model = registry.build("rdn_gray", **overrides)
    store.save_weights(model, path, metadata={"preset": "rdn_gray", "overrides": overrides})
    return path


@pytest.fixture(scope="module")
def subject(weights, pictures):
    return prepare.subject(weights, test=pictures, size=32)


def test_the_subject_knows_its_network_and_its_pictures(subject):
    assert (subject.metadata.weights, subject.metadata.preset) == ("mine.safetensors", "rdn_gray")
    assert subject.metadata.overrides["filters"] == 4
    assert [sample.degraded.shape for sample in subject.reference.samples] == [(32, 32, 1)] * 2
    assert subject.protocol["sigma"] == 25
    assert subject.protocol["crops"] == "2 of 32x32 pixels, from the middle"


def test_a_file_that_passes_is_published_with_its_proof(subject, tmp_path):
    (report,) = publish.publish(subject, [SAVED_MODEL], tmp_path / "out")
    assert report.passed
    assert report.parity.max_abs_error <= 1e-5
    assert report.audit["operations"]["Conv2D"] >= 5
    degraded = subject.reference.samples[0].degraded[None]
    restored = open_model(tmp_path / "out" / "saved_model")(degraded)
    np.testing.assert_allclose(restored[0], subject.reference.restored[0], rtol=0, atol=1e-5)
    names = sorted(path.name for path in (tmp_path / "out").rglob("saved_model*"))
    assert names == [
        "saved_model",
        "saved_model.json",
        "saved_model.md",
        "saved_model.pb",
        "saved_model.png",
    ]
    found = json.loads((tmp_path / "out" / "reports" / "saved_model.json").read_text())
    assert found["sha256"] == file_sha256(tmp_path / "out" / "saved_model")
    assert "| passed |" in (tmp_path / "out" / "report.md").read_text()


def test_an_onnx_file_comes_with_what_tensorrt_needs(subject, tmp_path):
    (report,) = publish.publish(subject, [("onnx", "fp32")], tmp_path)
    assert report.companions == ("model_fp32.trtexec.sh", "model_fp32.build_engine.py")
    command, script = ((tmp_path / name).read_text() for name in report.companions)
    assert "--optShapes=degraded:1x32x32x1" in command
    assert "PROFILE = ((1, 32, 32, 1), (1, 32, 32, 1), (1, 512, 512, 1))" in script
    assert "`model_fp32.trtexec.sh` or" in (tmp_path / "report.md").read_text()


def test_a_file_that_misses_its_gate_leaves_nothing_but_a_line(subject, tmp_path, monkeypatch):
    monkeypatch.setitem(reporting.GATES, SAVED_MODEL, Gate(psnr_loss=-1))
    (report,) = publish.publish(subject, [SAVED_MODEL], tmp_path)
    assert "loses" in report.failures[0]
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert "loses" in (tmp_path / "report.md").read_text()


def test_an_older_file_stays_if_the_new_one_is_refused(subject, tmp_path, monkeypatch):
    wanted = [("onnx", "fp32")]
    list(publish.publish(subject, wanted, tmp_path))
    before = (tmp_path / "model_fp32.onnx").read_bytes()
    monkeypatch.setitem(reporting.GATES, wanted[0], Gate(psnr_loss=-1))
    (report,) = publish.publish(subject, wanted, tmp_path)
    assert report.failures[1] == "model_fp32.onnx in the folder is an older one"
    assert (tmp_path / "model_fp32.onnx").read_bytes() == before


def test_force_publishes_it_all_the_same_and_the_report_says_so(subject, tmp_path, monkeypatch):
    monkeypatch.setitem(reporting.GATES, SAVED_MODEL, Gate(psnr_loss=-1))
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_text("an older one")
    list(publish.publish(subject, [SAVED_MODEL], tmp_path, force=True))
    assert open_model(tmp_path / "saved_model").channels == 1
    assert "**loses" in (tmp_path / "reports" / "saved_model.md").read_text()


def test_what_is_no_export_is_not_replaced(subject, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "mine.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="saved_model is a folder but no export; move it"):
        list(publish.publish(subject, [SAVED_MODEL], tmp_path, force=True))
    assert [path.name for path in tmp_path.rglob("*")] == ["saved_model", "mine.txt"]


def test_a_format_that_cannot_take_the_network_does_not_stop_the_others(
    subject, tmp_path, monkeypatch
):
    def refuse(*arguments):
        raise ValueError("There is no\nsuch operation.")

    monkeypatch.setattr("keras_rdanet.export.formats.onnx.export_onnx", refuse)
    made = [("onnx", "fp32"), SAVED_MODEL]
    refused, passed = publish.publish(subject, made, tmp_path, force=True)
    assert refused.failures == ("There is no such operation.",)
    assert passed.passed
    assert not (tmp_path / "model_fp32.onnx").exists()
    assert not (tmp_path / "reports" / "model_fp32.onnx.json").exists()


def test_what_misses_its_gate_is_made_again_from_fine_tuned_weights(
    weights, pictures, tmp_path, monkeypatch
):
    subject = prepare.subject(weights, data=pictures, size=32, calibrate=True)
    before = subject.model.get_weights()
    monkeypatch.setitem(reporting.GATES, ("tflite", "int8_uint8"), Gate(psnr_loss=-99))
    wanted = [("tflite", "int8_uint8")]
    (report,) = publish.publish(subject, wanted, tmp_path, force=True, fine_tune=3)
    # This network is untrained: learning anything from pictures makes it better.
    assert report.parity.psnr_loss < report.loss_before
    for own, kept in zip(subject.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)
    path = tmp_path / "model_int8_uint8.tflite"
    said = from_json(_text(path.read_bytes(), path))
    assert (said.weights, said.fine_tuned) == ("mine.safetensors", 3)
    written = (tmp_path / "reports" / "model_int8_uint8.tflite.md").read_text()
    assert "the same before fine-tuning" in written


def test_the_slow_file_is_proven_beside_the_others(weights, pictures, tmp_path, monkeypatch):
    subject = prepare.subject(weights, data=pictures, size=32, calibrate=True)
    wanted = [SAVED_MODEL, publish.SLOW]
    reports = list(publish.publish(subject, wanted, tmp_path, force=True))
    assert [(report.format, report.variant) for report in reports] == wanted
    assert all(report.parity for report in reports)
    assert open_model(tmp_path / "model_int16x8.tflite").precision == "int16x8"

    def fail(path):
        raise OSError(f"{path.name} is gone.")

    monkeypatch.setattr(publish, "open_model", fail)
    with pytest.raises(OSError, match="is gone"):
        list(publish.publish(subject, [publish.SLOW], tmp_path))


def test_fine_tuning_needs_pictures(subject, tmp_path):
    with pytest.raises(ValueError, match="Fine-tuning learns from pictures"):
        list(publish.publish(subject, [SAVED_MODEL], tmp_path / "out", fine_tune=3))


def test_quantized_variants_need_pictures(subject, weights, tmp_path):
    with pytest.raises(ValueError, match="int8 learns its ranges from pictures"):
        list(publish.publish(subject, [("onnx", "int8")], tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="learns ranges from pictures"):
        prepare.subject(weights, calibrate=True)


def test_combinations_are_in_the_order_they_are_made_in():
    assert publish.combinations(("tflite", "onnx"), ("int8", "fp32", "dynamic")) == [
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("tflite", "fp32"),
        ("tflite", "dynamic"),
        ("tflite", "int8"),
    ]
    with pytest.raises(ValueError, match="saved_model comes as fp32"):
        publish.combinations(("saved_model",), ("int8",))


def test_without_pictures_a_drawn_scene_proves_it(weights):
    found = prepare.subject(weights, size=48)
    assert found.protocol["pictures"] == "a drawn scene"
    (sample,) = found.reference.samples
    assert sample.target.std() > 20


def test_the_pictures_choose_from_a_family(pictures, monkeypatch):
    chosen = []
    monkeypatch.setattr(registry, "load", lambda name: chosen.append(name) or 1 / 0)
    for options in [{"test": pictures}, {"test": pictures, "channels": 3}, {}]:
        with pytest.raises(ZeroDivisionError):
            prepare.subject("tsp_rdanet_tiny", **options)
    assert chosen == ["tsp_rdanet_tiny_gray", "tsp_rdanet_tiny_rgb", "tsp_rdanet_tiny_rgb"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 3}, "has 1 channels, not 3"),
        ({"size": 100}, "No picture is as large as 100x100"),
    ],
)
def test_what_does_not_suit_is_refused(weights, pictures, options, message):
    with pytest.raises(ValueError, match=message):
        prepare.subject(weights, test=pictures, **options)


def test_an_export_is_not_exported_again(tmp_path):
    (tmp_path / "model.tflite").touch()
    with pytest.raises(ValueError, match="is an export already"):
        prepare.subject(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("task", "scale", "protocol", "degradation"),
    [
        (None, 1, "GaussianNoise", "GaussianNoise"),
        ("jpeg", 1, "JPEG", "JPEG"),
        ("bicubic", 2, "SuperResolution", "SuperResolution"),
        ("rain_streaks", 1, "Rain", "Rain"),
    ],
)
def test_networks_are_proven_on_what_they_were_trained_for(task, scale, protocol, degradation):
    assert type(prepare.proving_protocol(task, scale).task).__name__ == protocol
    assert type(prepare.calibrating_degradation(task, scale)).__name__ == degradation


@pytest.mark.parametrize(
    ("preset", "overrides", "size", "side"),
    [
        ("rdn_rgb_x2", {"num_blocks": 1, "filters": 4, "growth_rate": 4, "num_layers": 1}, 32, 64),
        ("pa_edsr_x2", {"num_blocks": 2, "filters": 4, "reduction": 2}, 48, 48),
    ],
)
def test_calibration_tiles_suit_the_network(tmp_path, preset, overrides, size, side):
    samples = np.random.default_rng(0).integers(0, 256, (150, 160, 3), np.uint8)
    for index in range(4):
        write_picture(tmp_path / f"{index}.png", Picture(samples))
    model = registry.build(preset, **overrides)
    metadata = meta.describe(model, preset, overrides=overrides)
    subject = prepare.subject_of(
        model, metadata, data=tmp_path, size=size, pictures=1, calibrate=True
    )
    assert subject.calibration.degraded.shape[1:3] == (side, side)
    assert subject.calibration.target.shape[1:3] == (2 * side, 2 * side)
