import json
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.config import load_config
from keras_rdanet.models import registry
from keras_rdanet.models.danet import DANet
from keras_rdanet.models.rdn import RDN

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "acceptance")
    import networks

    return networks


def test_every_config_has_a_short_run_that_differs_as_the_table_says(networks):
    free = {
        **dict.fromkeys(["model", "data", "schedule", "validation"], True),
        **dict.fromkeys(["checkpoint_steps", "precision"], True),
        "optimizer": {"ema"},
        "mix": {"__all__": {"train"}},
    }
    for path in CONFIGS:
        short = networks.short_for(f"{path.parent.name}/{path.stem}")
        config = load_config(path)
        preset = config.model.preset
        scale = registry.network(preset).PRESETS[preset].get("scale", 1)
        shortened = load_config(path, networks.settings(config, short, Path("made"), scale))
        assert shortened.steps == short.steps
        assert all(part.train.startswith("made/") for part in (shortened.data, *shortened.mix))
        assert shortened.optimizer.ema <= min(config.optimizer.ema, 0.9)
        whole, less = config.model_dump(exclude=free), shortened.model_dump(exclude=free)
        assert whole == less, path


@pytest.mark.parametrize("preset", ["tsp_rdanet_rgb", "rdn_rgb_x3", "danet_s_gray", "pa_edsr_x4"])
def test_a_short_run_has_the_small_network_with_the_ends_of_its_task(networks, preset):
    network = registry.network(preset)
    published = network.PRESETS[preset]
    ends = {name: published[name] for name in networks.OF_THE_TASK if name in published}
    assert published | networks.small_overrides(preset) == network.SMALL | ends


@pytest.mark.parametrize("scale", [1, 2])
def test_the_reach_of_a_local_network_is_its_radius(networks, scale):
    model = RDN(**{**RDN.SMALL, "num_blocks": 1, "scale": scale})
    side = 2 * (model.radius + 2) + 1
    for line in networks.reach(model, side):
        np.testing.assert_array_equal(np.flatnonzero(line), np.arange(2, side - 2))


def test_the_reach_of_a_global_pool_is_everything(networks):
    rows, columns = networks.reach(DANet(**DANet.SMALL), 24)
    assert rows.all()
    assert columns.all()


def test_a_cell_says_what_happened(networks):
    cells = {"train": (True, "0.1 → 0.05"), "resume": (False, "no")}
    shown = [networks.show(cells, name) for name in ("train", "resume", "evaluate")]
    assert shown == ["🟢 0.1 → 0.05", "🔴 no", "🔴 not reached"]


def test_what_is_done_is_not_done_again_unless_something_changed(networks, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("model: {preset: rdn_gray}")
    short = networks.Short()
    first = networks.key(path, short, "data")
    assert first == networks.key(path, short, "data")
    assert first != networks.key(path, networks.Short(steps=4), "data")
    path.write_text("model: {preset: rdn_rgb}")
    assert first != networks.key(path, short, "data")


def test_golden_files_of_every_network_count(networks, monkeypatch, tmp_path):
    import parity

    found = [
        parity.Check(f"{prefix}_x.npz", "output_0", "ok", 1e-7, 1e-4, "of range")
        for prefixes in networks.GOLDEN.values()
        for prefix in prefixes
    ]
    found.append(parity.Check("rdn_bad.npz", "output_0", "failed", 1.0, 1e-4, "of range"))
    monkeypatch.setattr(parity, "check_folder", lambda folder: found)
    cells = networks.parity(tmp_path)
    assert cells["rdn"] == (False, "rdn_bad.npz")
    assert cells["panet"] == (True, "5 files, 1e-07")
    assert json.dumps(cells)
