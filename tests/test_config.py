import pytest

from keras_rdanet.config import load_config

YAML = """
model: {preset: tsp_rdanet_tiny_gray}
data:
  train: images
  phases: [{steps: 100, patch_size: 32, batch_size: 4}]
degradation: {sigma: [0, 50]}
schedule: {name: cosine, peak: 1.0e-3}
checkpoint_steps: 50
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.yaml").write_text(YAML)
    return tmp_path / "run.yaml"


def test_values_and_defaults(path):
    config = load_config(path)
    assert config.steps == 100
    assert config.degradation.sigma == (0.0, 50.0)
    assert config.schedule.peak == 1e-3
    assert config.precision == "float32"


def test_overrides_reach_into_lists(path):
    config = load_config(
        path, ["data.phases.0.steps=150", "precision=bfloat16", "optimizer.ema=0.9"]
    )
    assert (config.steps, config.precision, config.optimizer.ema) == (150, "bfloat16", 0.9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.momentun=0.9", "optimizer.momentun: there is no such option"),
        ("optimizer.weight_decay=0.1", "adam takes `l2`"),
        ("optimizer={name: adamw, l2: 0.1}", "takes `weight_decay`"),
        ("validation={data: a, target: b, sigma: 5}", "not both"),
        ("schedule.peak=1e-3", r"schedule\.cosine\.peak: it must be a number \(write"),
        ("degradation.sigma=[50, 0]", "low, high"),
        ("degradation.sigma=-1", "degradation.sigma: Input should be greater"),
        ("data.target=clean", "one of them"),
        ("checkpoint_steps=30", "multiple of"),
        ("data.phases=[]", "data.phases"),
        ("data.phases.3.steps=1", "no place"),
        ("seed", "key=value"),
        ("checkpoint_steps.x=1", "no place"),
    ],
)
def test_wrong_options_are_named(path, override, message):
    with pytest.raises(ValueError, match=message):
        load_config(path, [override])


def test_lost_key_is_named(path):
    path.write_text(YAML.replace("  train: images\n", ""))
    with pytest.raises(ValueError, match=r"data\.train"):
        load_config(path)


@pytest.mark.parametrize("text", ["a: [", "just words", ""])
def test_no_config_at_all(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run\.yaml"):
        load_config(path)
