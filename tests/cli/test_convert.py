from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.cli.convert import convert
from keras_rdanet.models import registry

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


def test_a_checkpoint_of_another_network_writes_nothing(checkpoint, tmp_path):
    output = tmp_path / "mine.safetensors"
    arguments = [str(checkpoint), str(output), "--preset", "tsp_rdanet_tiny_gray"]
    result = CliRunner().invoke(convert, arguments)
    assert isinstance(result.exception, ValueError)
    assert not output.exists()


@pytest.mark.parametrize(
    ("output", "options"), [("mine.h5", []), ("mine.safetensors", ["--set", "filters"])]
)
def test_bad_usage(checkpoint, tmp_path, output, options):
    arguments = [str(checkpoint), str(tmp_path / output), *OPTIONS, *options]
    assert CliRunner().invoke(convert, arguments).exit_code == 2
