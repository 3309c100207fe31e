import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
GRAY = "tsp_rdanet_gray_nc8_bias_38x30.npz"
COLOR = "tsp_rdanet_color_nc16_odd37x45.npz"


@pytest.fixture
def parity(monkeypatch):
    """The script as a module, with its siblings beside it."""
    monkeypatch.syspath_prepend(ROOT / "acceptance")
    import parity

    return parity


@pytest.fixture
def run(parity):
    """Run the script in this process; returns the exit status and what it printed."""

    def invoke(*arguments):
        result = CliRunner().invoke(parity.main, [str(a) for a in arguments])
        return result.exit_code, result.output

    return invoke


def change(source, target, **arrays):
    """Copy a golden file with some arrays replaced; `None` leaves one out."""
    golden = {**np.load(GOLDEN / source), **arrays}
    np.savez(target, **{name: array for name, array in golden.items() if array is not None})


def test_every_reference_output_of_the_project_is_met(run):
    code, output = run(GOLDEN, "--strict")
    assert code == 0, output
    names = set(np.load(GOLDEN / GRAY))
    compared = {line.split()[2] for line in output.splitlines() if GRAY in line}
    assert compared == {n for n in names if n.startswith(("output_", "mid/"))}


@pytest.mark.parametrize("output", ["output_0", "mid/up_1"])
def test_a_difference_above_a_ten_thousandth_of_the_range_fails(run, tmp_path, output):
    array = np.load(GOLDEN / GRAY)[output].copy()
    array.flat[array.size // 2] += 2e-4 * np.ptp(array)
    change(GRAY, tmp_path / "a.npz", **{output: array})
    code, text = run(tmp_path)
    assert code == 1
    assert [line.split()[2] for line in text.splitlines() if line.startswith("failed")] == [output]


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("aux_losses.npz", "tsp_real_loss"),
        ("aux_schedules.npz", "lr_per_epoch_tsp_real"),
        ("aux_eval.npz", "ssim_color_border1"),
        ("aux_eval.npz", "x8_out"),
        ("aux_eval.npz", "onesplit_b_out_first"),
    ],
)
def test_functions_are_compared_too(parity, source, output):
    golden = dict(np.load(GOLDEN / source))
    checks = {check.output: check for check in parity.check_file(source, golden)}
    assert checks[output].status == "ok"
    golden[output] = golden[output] * 1.01
    checks = {check.output: check for check in parity.check_file(source, golden)}
    assert checks[output].status == "failed"
    assert sum(check.status == "failed" for check in checks.values()) == 1


def test_operators_are_compared_too(run, tmp_path):
    golden = np.load(GOLDEN / "haar_dwt.npz")
    change("haar_dwt.npz", tmp_path / "a.npz", output_1=golden["output_1"] + 0.01, output_2=0.0)
    code, output = run(tmp_path)
    assert code == 1
    statuses = {line.split()[2]: line.split()[0] for line in output.splitlines()[:-1]}
    assert statuses == {"output_0": "ok", "output_1": "failed", "output_2": "unknown"}


def test_everything_comes_from_the_file(run, tmp_path):
    """A width, a size and missing biases that no file of the project has."""
    from keras_rdanet.models.tsp_rdanet import TSPRDANet

    model = TSPRDANet(filters=9, channels=1, use_bias=False, image_residual=False)
    image = np.random.default_rng(1).random((1, 11, 6, 1), np.float32)
    stages = model(image)
    # Keras paths back to PyTorch names, by hand.
    named = {}
    for variable in model.weights:
        name = variable.path.replace("/kernel", ".weight").replace("/", ".")
        for ours, theirs in (
            ("hdrdab.conv", "hdrdab.dconv"),
            ("hdrdab.dconv_tail", "hdrdab.conv_tail"),
            ("sab.conv.", "sab.spatial.conv."),
            ("squeeze", "conv_du.0"),
            ("excite", "conv_du.2"),
        ):
            name = name.replace(ours, theirs)
        name = "up.up.weight" if name == "up.weight" else name
        named[f"param/{name}"] = variable.numpy().transpose(3, 2, 0, 1)
    kwargs = {"in_nc": 1, "out_nc": 1, "nc": 9, "bias": False}
    np.savez(
        tmp_path / "a.npz",
        config=json.dumps({"model": "tsp_rdanet", "kwargs": kwargs, "preprocess": "none"}),
        input=image.transpose(0, 3, 1, 2),
        output_0=stages["stage1"].numpy().transpose(0, 3, 1, 2),
        output_1=stages["stage2"].numpy().transpose(0, 3, 1, 2),
        **named,
    )
    code, output = run(tmp_path)
    assert code == 0, output
    assert "2 ok, 0 failed, 0 unknown" in output


def test_options_without_a_preset_come_from_the_file(run, tmp_path):
    """PA-EDSR with other levels, another softmax and white at 255."""
    from keras_rdanet.models.panet import PAEDSR

    options = {"levels": [1.0, 0.9, 0.8], "softmax_scale": 6, "rgb_range": 255, "scale": 3}
    model = PAEDSR(**{**PAEDSR.SMALL, "filters": 8, **options})
    attention = keras.Model(model.inputs, model.get_layer("attention").output)
    image = np.random.default_rng(1).random((1, 7, 9, 3), np.float32)
    named = {}
    for variable in model.weights:
        name = variable.path.replace("/kernel", ".weight").replace("/", ".")
        for ours, theirs in (
            ("head.", "head.0."),
            ("tail.", "tail.1."),
            ("up0.", "tail.0.0."),
            ("body0_conv1", "body.0.body.0"),
            ("body0_conv2", "body.0.body.2"),
            ("body2_conv1", "body.2.body.0"),
            ("body2_conv2", "body.2.body.2"),
            ("body_conv", "body.3"),
            ("attention.query", "body.1.conv_match_L_base"),
            ("attention.key", "body.1.conv_match"),
            ("attention.value", "body.1.conv_assembly"),
            ("_prelu.alpha", ".1.weight"),
        ):
            name = name.replace(ours, theirs)
        array = variable.numpy()
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
            name = name.replace(".weight", ".0.weight") if "conv_" in name else name
        elif "conv_" in name:
            name = name.replace(".bias", ".0.bias")
        named[f"param/{name}"] = array.reshape(-1) if array.ndim == 3 else array
    kwargs = {
        "n_colors": 3,
        "rgb_range": 255,
        "n_resblocks": 3,
        "n_feats": 8,
        "scale": 3,
        "res_scale": 0.1,
        "attention": {
            "channel": 8,
            "reduction": 4,
            "res_scale": 0.1,
            "level": 3,
            "softmax_scale": 6,
        },
    }
    np.savez(
        tmp_path / "a.npz",
        config=json.dumps({"model": "paedsr", "kwargs": kwargs}),
        input=255 * image.transpose(0, 3, 1, 2),
        output_0=255 * model(image).numpy().transpose(0, 3, 1, 2),
        output_1=attention([image]).numpy().transpose(0, 3, 1, 2),
        **named,
    )
    code, output = run(tmp_path)
    assert code == 0, output
    assert "2 ok, 0 failed, 0 unknown" in output


def test_unknown_things_are_listed_and_fail_only_when_strict(run, tmp_path):
    np.savez(tmp_path / "net.npz", config=json.dumps({"model": "nafnet"}), output_0=np.zeros(3))
    change("aux_schedules.npz", tmp_path / "aux.npz", lr_per_epoch_other=np.ones(3))
    code, output = run(tmp_path)
    assert code == 0
    assert "model 'nafnet'" in output
    assert "lr_per_epoch_other" in output
    assert "4 ok, 0 failed, 2 unknown" in output
    assert run(tmp_path, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"param/conv_head.weight": None}, "missing: conv_head/kernel"),
        ({"param/other.weight": np.zeros(3)}, "unused: other.weight"),
        ({"output_1": np.zeros((2, 1, 38, 31))}, "shape (2, 38, 30, 1)"),
        ({"output_1": np.full((2, 1, 38, 30), np.nan)}, "nan"),
        ({"output_0": None}, "no outputs"),
        ({"config": np.array("{")}, "JSONDecodeError"),
    ],
)
def test_files_that_do_not_fit_fail_with_the_reason(run, tmp_path, changes, reason):
    change(GRAY, tmp_path / "a.npz", **changes)
    code, output = run(tmp_path)
    assert code == 1
    assert reason in output


def test_a_damaged_file_fails_and_the_rest_is_checked(run, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    change("aux_schedules.npz", tmp_path / "b.npz")
    code, output = run(tmp_path)
    assert code == 1
    assert "4 ok, 1 failed" in output


def test_an_empty_folder_is_bad_usage(run, tmp_path):
    code, output = run(tmp_path)
    assert code == 2
    assert "holds no .npz" in output


def test_infinite_scores_agree_with_each_other_only(parity):
    assert parity.compare("f", "o", np.inf, np.inf, 1e-4, "absolute").status == "ok"
    assert parity.compare("f", "o", np.inf, 3.0, 1e-4, "absolute").status == "failed"


@pytest.mark.slow
def test_runs_as_a_script(tmp_path):
    change("aux_schedules.npz", tmp_path / "b.npz")
    command = [sys.executable, str(ROOT / "acceptance" / "parity.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 ok" in done.stdout
