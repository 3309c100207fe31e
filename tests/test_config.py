import json
import time

import pytest

from keras_rdanet.config import RunConfig, load_config

YAML = """
model: {preset: tsp_rdanet_tiny_gray}
data:
  train: images
  phases: [{steps: 100, patch_size: 32, batch_size: 4}]
degradation: {name: gaussian_noise, sigma: [0, 50]}
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
    "degradation",
    [
        "{name: gaussian_noise, sigma: 25, mean: -3}",
        "{name: camera_noise}",
        "{name: camera_noise, shot: [1.0e-5, 1.0e-3], jpeg_quality: [70, 95]}",
        "{name: jpeg, quality: 10}",
        "{name: bayer_mosaic}",
        "{name: super_resolution, scale: 4}",
        "{name: bicubic, scale: 4}",
        "{name: motion_blur, length: [0, 9], bend: 0}",
        "{name: rain, angle: [-20, 10], density: 0.01}",
    ],
)
def test_every_degradation_survives_being_written_and_read(path, degradation):
    config = load_config(path, [f"degradation={degradation}"])
    written = json.loads(json.dumps(config.model_dump(mode="json")))
    assert RunConfig.model_validate(written) == config


def test_mix_shares_a_batch(path):
    pairs = "{train: a, target: b, share: 0.25}"
    clean = "{train: c, degradation: {name: camera_noise}, share: 0.5}"
    mix = f"mix=[{pairs}, {clean}]"
    config = load_config(path, [mix])
    assert [part.patches(4) for part in config.mix] == [1, 2]
    with pytest.raises(ValueError, match="leave patches"):
        load_config(path, [mix.replace("0.25", "0.5")])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.momentun=0.9", "optimizer.momentun: there is no such option"),
        ("model={preset: a, weights: b, teacher: c}", "one of `weights`, `widen` and `teacher`"),
        ("optimizer.weight_decay=0.1", "adam takes `l2`"),
        ("optimizer={name: adamw, l2: 0.1}", "takes `weight_decay`"),
        ("validation={data: a, target: b, sigma: 5}", "not both"),
        ("validation={data: a, target: b, degradation: {name: bayer_mosaic}}", "not both"),
        (
            "validation={data: a, sigma: 5, degradation: {name: bayer_mosaic}}",
            "give one of `target` and `layout`",
        ),
        ("schedule.peak=low", r"schedule\.peak: it must be a number"),
        ("degradation.sigma=[50, 0]", "low, high"),
        ("degradation.sigma=-1", "degradation: `sigma` must be a number of gray levels >= 0"),
        ("degradation.sigma=[1, 2, 3]", r"range \(low, high\), got \[1, 2, 3\]"),
        ("degradation.mean=much", "`mean` must be a number of gray levels"),
        ("degradation.sigma=few", "`sigma` must be a number"),
        ("degradation.sigma=true", "`sigma` must be a number"),
        ("degradation={sigma: 5}", "degradation: A task needs a `name`"),
        ("degradation={name: fog}", "degradation: There is no task 'fog'; known: gaussian_noise, "),
        ("degradation={name: jpeg}", "degradation: jpeg needs `quality`"),
        ("degradation={name: jpeg, quality: 0}", "`quality` must be an integer of 1-100"),
        ("degradation={name: jpeg, quality: 7.5}", "`quality` must be an integer of 1-100"),
        ("degradation={name: jpeg, quality: 7, sigma: 1}", "`sigma` is no option of jpeg"),
        ("degradation={name: bayer_mosaic, sigma: 1}", "`sigma` is no option of bayer_mosaic"),
        ("degradation={name: super_resolution, scale: 5}", "`scale` must be 2, 3 or 4"),
        (
            "degradation={name: super_resolution, scale: 3}",
            "32, .* multiple of the scale, 3",
        ),
        ("degradation={name: camera_noise, shot: 0}", "`shot` must be a variance above 0"),
        ("degradation={name: rain, angle: [-100, 0]}", "from -90 to 90"),
        ("data.layout=gopro", "`data.layout` .pairs., one of them"),
        ("data.layout=fog", "data.layout: `layout` must be one of sidd, "),
        ("mix=[{train: a, target: b, layout: gopro, share: 0.5}]", "or the `layout`"),
        ("mix=[{train: a, share: 0.5}]", "`mix.0.target`"),
        ("mix=[{train: a, target: b, share: 0.3}]", "0.3 is no whole number of the 4 patches"),
        ("mix=[{train: a, target: b, share: 0.1}]", "0.1 is no whole number of the 4 patches"),
        ("mix=[{train: a, target: b, share: 1}]", "mix.0.share"),
        ("data.target=clean", "one of them"),
        ("checkpoint_steps=30", "multiple of"),
        ("data.phases=[]", "data.phases"),
        ("data.phases.3.steps=1", "no place"),
        ("seed", "key=value"),
        ("seed=[1", "'seed=.1': what follows the = is not YAML"),
        ("checkpoint_steps.x=1", "no place"),
    ],
)
def test_wrong_options_are_named(path, override, message):
    with pytest.raises(ValueError, match=message):
        load_config(path, [override])


def test_validation_takes_the_degradation_of_the_run_unless_told(path):
    config = load_config(path, ["validation={data: a}"])
    assert config.validation_degradation == config.degradation
    config = load_config(path, ["validation={data: a, degradation: {name: jpeg, quality: 10}}"])
    assert config.validation_degradation.quality == 10
    pairs = ["degradation=null", "data.target=clean"]
    assert load_config(path, [*pairs, "validation={data: a, target: b}"])
    assert load_config(path, ["degradation=null", "data.layout=gopro"]).data.paired
    with pytest.raises(ValueError, match=r"`validation.sigma` is no option of jpeg"):
        load_config(
            path, ["degradation={name: jpeg, quality: 9}", "validation={data: a, sigma: 5}"]
        )
    with pytest.raises(ValueError, match="needs `target`"):
        load_config(path, [*pairs, "validation={data: a}"])


def test_numbers_may_be_written_with_an_exponent_alone(path):
    config = load_config(path, ["schedule.peak=2e-4", "degradation.sigma=[1e1, 5E+1]"])
    assert (config.schedule.peak, config.degradation.sigma) == (2e-4, (10, 50))


def test_the_level_of_the_validation_stands_beside_its_options(path):
    for validation in ("{data: a, sigma: 15}", "{data: a, level: {sigma: 15}}"):
        config = load_config(path, [f"validation={validation}"])
        assert config.validation.level == {"sigma": 15}
    # What 0.1.0 wrote into checkpoints.
    assert load_config(path, ["validation={data: a, sigma: null}"]).validation.level == {}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases .* are not allowed"),
        ("a: &a [*a]", "aliases"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: " + "9" * 10000, "digits"),
    ],
    ids=["bomb", "loop", "deep", "long"],
)
def test_configs_that_would_take_all_memory_are_refused_at_once(path, text, message):
    path.write_text(text)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as raised:
        load_config(path)
    assert time.perf_counter() - start < 1
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_long_values_are_cut_in_messages(path):
    with pytest.raises(ValueError, match="`sigma` must be") as raised:
        load_config(path, [f"degradation.sigma=[{', '.join(['1'] * 5000)}]"])
    assert len(str(raised.value)) < 400


def test_lost_key_is_named(path):
    path.write_text(YAML.replace("  train: images\n", ""))
    with pytest.raises(ValueError, match=r"data\.train"):
        load_config(path)


@pytest.mark.parametrize("text", ["a: [", "just words", ""])
def test_no_config_at_all(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run\.yaml") as raised:
        load_config(path)
    assert "\n" not in str(raised.value)
