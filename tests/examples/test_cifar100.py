import importlib
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.config import load_config
from keras_rdanet.data.packed import pack
from keras_rdanet.data.packed import packed as open_packed
from keras_rdanet.models import registry

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def cifar100(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("cifar100")


def images(count=4):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


def write_binary(path, pictures):
    planes = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    labels = np.full((len(pictures), 2), 7, np.uint8)
    np.hstack([labels, planes]).tofile(path)


def test_a_local_copy_is_read(cifar100, tmp_path):
    train, test = images(4), images(6)[4:]
    write_binary(tmp_path / "train.bin", train)
    write_binary(tmp_path / "test.bin", test)
    read = cifar100.load_images(tmp_path)
    np.testing.assert_array_equal(read[0], train)
    np.testing.assert_array_equal(read[1], test)


def test_another_file_is_refused(cifar100, tmp_path):
    (tmp_path / "train.bin").write_bytes(b"no images")
    with pytest.raises(ValueError, match=r"train\.bin is not a file of CIFAR-100"):
        cifar100.load_images(tmp_path)


def test_arrays_are_packed_as_they_are(cifar100, tmp_path):
    pack(cifar100.Arrays(images()), tmp_path / "set", tile_size=32, overlap=0)
    source = open_packed(tmp_path / "set")
    np.testing.assert_array_equal([source.read(i)[0] for i in range(4)], images())


def test_scores_are_those_of_the_test_images(cifar100):
    model = registry.build("rdn_cifar", filters=4, growth_rate=4, num_blocks=1, num_layers=1)
    output = model.get_layer("output")
    # The network predicts noise: a constant that is nearly the mean of the noise.
    output.set_weights([np.zeros_like(output.get_weights()[0]), np.full(3, 0.245, np.float32)])
    row, (noisy, restored) = cifar100.score(model, images(), 0.255, 0.01)
    assert row["noisy"] == pytest.approx(-10 * np.log10(0.255**2 + 0.01**2), abs=0.02)
    assert row["restored"] == pytest.approx(-10 * np.log10(2e-4), abs=0.1)
    assert row["restored clipped"] >= row["restored"]
    assert row["noisy clipped"] >= row["noisy"]
    assert row["L1"] == pytest.approx(0.0117, abs=5e-4)
    assert row["notebook L1"] == 0.0086
    np.testing.assert_allclose(noisy - restored, 0.245, atol=1e-6)


def test_plot_shows_every_run(cifar100, tmp_path):
    grid = list(product(cifar100.LEVELS, cifar100.LEVELS))
    rows = [{"mean": m, "std": s, "noisy": 10, "restored": 20} for m, s in grid]
    (tmp_path / "history.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    cifar100.plot(rows, [tmp_path] * 9, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_config_is_the_experiment(cifar100):
    config = load_config(cifar100.CONFIG)
    assert config.degradation.sigma == pytest.approx(255 * 0.255)
    assert config.steps == 5 * -(-50_000 // 128)


def test_the_command_runs_the_grid_and_names_what_is_missing(cifar100, tmp_path, monkeypatch):
    write_binary(tmp_path / "train.bin", images(128))
    write_binary(tmp_path / "test.bin", images())
    small = {"filters": 4, "growth_rate": 4, "num_blocks": 1, "num_layers": 1}
    config = tmp_path / "config.yaml"
    text = cifar100.CONFIG.read_text(encoding="utf-8")
    config.write_text(text.replace("preset: rdn_cifar", f"preset: rdn_cifar, overrides: {small}"))
    monkeypatch.setattr(cifar100, "CONFIG", config)
    monkeypatch.setattr(cifar100, "LEVELS", (0.255,))
    out = tmp_path / "out"
    line = ["--data", str(tmp_path), "--out", str(out), "--steps", "1"]
    cifar100.main(line, standalone_mode=False)
    (row,) = json.loads((out / "cifar100.json").read_text())["rows"]
    assert row["noisy"] == pytest.approx(-10 * np.log10(2 * 0.255**2), abs=0.2)
    assert {"plot.png", "samples.png", "cifar100.md"} <= {path.name for path in out.iterdir()}
    (tmp_path / "test.bin").unlink()
    with pytest.raises(OSError, match=r"test\.bin"):
        cifar100.main(line, standalone_mode=False)
