import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_rdanet.image.io import Picture, read_picture, write_picture
from keras_rdanet.models import registry

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "getting_started.md").read_text(encoding="utf-8")
SHORTER = {
    "patch_size=96": "patch_size=16",
    "steps_per_epoch=500, epochs=20": "steps_per_epoch=1",
    'calibration="photos"': 'calibration="photos", size=64',
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    photo = read_picture(ROOT / "examples" / "astronaut.png").samples
    for folder in ("photos", "set12"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", Picture(photo[60:124, 100:164]))
    write_picture(tmp_path / "noisy.png", Picture(photo[:64, :80]))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_of_python_runs_in_order(workplace):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = "\n".join(blocks)
    for long, short in SHORTER.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    found = {}
    exec(code, found)
    assert found["clean"].size == (80, 64)
    assert found["samples"].dtype == np.uint8
    difference = np.asarray(Image.fromarray(found["picture"])).astype(int) - found["samples"]
    assert np.abs(difference).max() <= 2  # no value wrapped around
    assert registry.load("mine.safetensors").origin.task == "gaussian_noise"
    assert [report.file for report in found["reports"]] == [
        "model_fp32.tflite",
        "model_int8.tflite",
    ]
