import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner

from keras_rdanet.cli.convert import convert
from keras_rdanet.cli.restore import restore
from keras_rdanet.image.io import Picture, read_picture, write_picture
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.models import registry
from keras_rdanet.weights import store

GOLDEN = Path(__file__).parents[1] / "golden" / "tsp_rdanet_gray_nc8_bias_38x30.npz"
OPTIONS = ["--preset", "tsp_rdanet_tiny_gray"]
OPTIONS += ["--set", "filters=8", "--set", "use_bias=true"]  # the original has no image residual


@pytest.fixture
def checkpoint(tmp_path):
    """The parameters of a golden file, as somebody's own checkpoint."""
    golden = np.load(GOLDEN)
    tensors = {name[6:]: golden[name] for name in golden if name.startswith("param/")}
    np.savez(tmp_path / "checkpoint.npz", **tensors)
    return tmp_path / "checkpoint.npz"


@pytest.mark.parametrize("dtype", ["float32", "float16"])  # its values are exact in float16
def test_a_converted_checkpoint_restores_like_the_original(checkpoint, tmp_path, dtype):
    output = tmp_path / "mine.safetensors"
    result = CliRunner().invoke(convert, [str(checkpoint), str(output), *OPTIONS, "--dtype", dtype])
    assert result.exit_code == 0, result.output
    assert "54 variables loaded" in result.output
    golden = np.load(GOLDEN)
    restored = registry.image_function(output)(golden["input"].transpose(0, 2, 3, 1))
    expected = golden["output_1"].transpose(0, 2, 3, 1)
    assert np.abs(restored - expected).max() < 1e-4 * np.ptp(expected)


@pytest.fixture(scope="module")
def demosaicker(tmp_path_factory):
    """A checkpoint of an RGB network that the test made up."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = registry.build("tsp_rdanet_tiny_rgb", filters=8, image_residual=False)
    store.save_weights(model, folder / "ours.safetensors", metadata={"preset": "any"})
    tensors = store.read_tensors(folder / "ours.safetensors")
    transposed = {
        name.replace("/kernel", "/weight").replace("/", "."): array.transpose(3, 2, 0, 1)
        if array.ndim == 4
        else array
        for name, array in tensors.items()
    }
    np.savez(folder / "mosaic.npz", **transposed)
    return folder / "mosaic.npz"


def test_a_converted_network_for_mosaics_restores_one(demosaicker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(demosaicker), "mine.safetensors", "--preset", "tsp_rdanet_tiny_rgb"]
    arguments += ["--set", "filters=8"]
    write_picture("raw.png", Picture(np.full((16, 18, 1), 90, np.uint8)))
    restoring = ["raw.png", "out.png", "--model", "mine.safetensors", "--mosaic", "rggb"]
    for task in (["--task", "bayer_mosaic"], []):  # without a task, any picture may be restored
        assert CliRunner().invoke(convert, [*arguments, *task]).exit_code == 0
        origin = registry.load("mine.safetensors").origin
        assert origin.task == (task[1] if task else None)
        assert origin.description == "converted from mosaic.npz"
        result = CliRunner().invoke(restore, restoring, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert read_picture("out.png").samples.shape == (16, 18, 3)
    CliRunner().invoke(convert, [*arguments, "--task", "jpeg"])
    with pytest.raises(ValueError, match=r"trained for jpeg, not for mosaics"):
        CliRunner().invoke(restore, restoring, catch_exceptions=False)


def test_a_file_converted_by_version_0_1_0_restores_mosaics(tmp_path):
    model = registry.build("tsp_rdanet_tiny_rgb", filters=8)
    store.save_weights(
        model,
        tmp_path / "new.safetensors",
        metadata={"preset": "tsp_rdanet_tiny_rgb", "overrides": {"filters": 8}},
    )
    header = store.read_metadata(tmp_path / "new.safetensors")
    header = {**header, "task": "converted from demosaick.pth"}
    tensors = safetensors.numpy.load_file(tmp_path / "new.safetensors")
    old = safetensors.numpy.save(tensors, {store.METADATA_KEY: json.dumps(header)})
    (tmp_path / "old.safetensors").write_bytes(old)
    restorer = Restorer(tmp_path / "old.safetensors", mosaic="rggb")
    assert restorer(np.full((8, 8), 0.5, np.float32)).shape == (8, 8, 3)


def test_a_checkpoint_of_another_network_writes_nothing(checkpoint, tmp_path):
    output = tmp_path / "mine.safetensors"
    arguments = [str(checkpoint), str(output), "--preset", "tsp_rdanet_tiny_gray"]
    result = CliRunner().invoke(convert, arguments)
    assert isinstance(result.exception, ValueError)
    assert not output.exists()


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("mine.h5", []),
        ("mine.safetensors", ["--set", "filters"]),
        ("mine.safetensors", ["--task", "denoising"]),
    ],
)
def test_bad_usage(checkpoint, tmp_path, output, options):
    arguments = [str(checkpoint), str(tmp_path / output), *OPTIONS, *options]
    assert CliRunner().invoke(convert, arguments).exit_code == 2
