import h5py
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

from keras_rdanet.cli.submit import submit
from keras_rdanet.inference import open as opening
from tests.inference.functions import identity


def load(path, precision):
    return identity(1 if path.stem == "gray" else 3, scale=2 if path.stem == "double" else 1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(opening.OPENERS, ".fn", load)
    for name in ("same", "gray", "double"):
        (tmp_path / f"{name}.fn").touch()

    def run(*arguments, model="same.fn"):
        return CliRunner().invoke(submit, [*map(str, arguments), "--model", model])

    return run


@pytest.fixture
def blocks(tmp_path):
    blocks = np.random.default_rng(0).integers(0, 256, (1, 2, 4, 5, 3)).astype(np.uint8)
    scipy.io.savemat(tmp_path / "noisy.mat", {"BenchmarkNoisyBlocksSrgb": blocks})
    return blocks


def test_sidd(run, blocks):
    done = run("sidd", "noisy.mat", "SubmitSrgb.mat")
    assert done.exit_code == 0, done.output
    assert "wrote SubmitSrgb.mat" in done.output
    stored = scipy.io.loadmat("SubmitSrgb.mat")["DenoisedBlocksSrgb"]
    np.testing.assert_array_equal(stored[0, 1], blocks[0, 1] / np.float32(255))


def test_dnd(run, tmp_path):
    folder = tmp_path / "dnd"
    (folder / "images_srgb").mkdir(parents=True)
    with h5py.File(folder / "info.mat", "w") as file:
        boxes = file.create_dataset("#refs#/a", data=np.array([[1.0, 1, 4, 5]]).T)
        file.create_dataset("info/boundingboxes", (1, 1), h5py.ref_dtype)[0, 0] = boxes.ref
    with h5py.File(folder / "images_srgb" / "0001.mat", "w") as file:
        file["InoisySRGB"] = np.full((3, 6, 7), 0.5, np.float32)
    done = run("dnd", folder, "out")
    assert done.exit_code == 0, done.output
    assert "wrote 1 files to out" in done.output
    np.testing.assert_array_equal(
        scipy.io.loadmat("out/0001.mat")["Idenoised"].item(), np.full((4, 5, 3), np.float32(0.5))
    )


@pytest.mark.parametrize(("model", "message"), [("gray.fn", "RGB"), ("double.fn", "enlarges")])
def test_models_that_do_not_suit_are_refused(run, blocks, model, message):
    done = run("sidd", "noisy.mat", "SubmitSrgb.mat", model=model)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)


@pytest.mark.parametrize("arguments", [("sidd",), ("sidd", "missing.mat", "out.mat"), ("raw",)])
def test_bad_usage_exits_with_2(run, arguments):
    assert run(*arguments).exit_code == 2
