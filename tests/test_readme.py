import re
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.cli.main import VERBS, command
from keras_rdanet.image.io import Picture, write_picture
from keras_rdanet.models import registry
from tools.catalogue import with_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_models_is_that_of_the_catalogue():
    assert with_models(README) == README  # else: python tools/catalogue.py readme


def test_commands_have_verbs_and_options_that_exist():
    lines = re.findall(r"^(?:    )?(?:keras-rdanet .*|    --.*)$", README, re.MULTILINE)
    assert len(lines) > 8
    pages = README + (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s+", "", pages)
    for verb, arguments in re.findall(r"^keras-rdanet (\S+) ?([^#\n]*)", joined, re.MULTILINE):
        assert verb in VERBS
        entry = command.get_command(None, verb)
        if hasattr(entry, "commands"):
            entry = entry.get_command(None, arguments.split()[0])
        known = {option for parameter in entry.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", arguments)) <= known


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_example_of_model_fit_trains(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (code,) = [block for block in blocks if "model.fit" in block]
    for long, short in (("patch_size=96", "patch_size=16"), ("=500, epochs=20", "=2, epochs=1")):
        assert long in code
        code = code.replace(long, short)
    samples = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for folder in ("my_photos", "my_test_set"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", Picture(samples))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["result"].mean("psnr_degraded") == pytest.approx(20.5, abs=0.5)
    before, after = (
        registry.load(name).get_weights()[0] for name in ("tsp_rdanet_tiny_rgb", "mine.safetensors")
    )
    assert 0 < np.abs(after - before).max() < 0.1
