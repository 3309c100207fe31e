import json

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from keras_rdanet.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from tests.mutations import mutations

STATE = {"step": 10, "seconds": 1.5, "best_psnr": None, "history": [], "config": {"seed": 0}}


def network():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="tail")], name="net")
    model.compile(keras.optimizers.Adam(name="adam"), "mae")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def saved(tmp_path):
    model = network()
    save_checkpoint(tmp_path / "checkpoint.safetensors", model, STATE)
    return model, tmp_path / "checkpoint.safetensors"


def rewrite(path, state=None, arrays=None):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    if state is not None:
        metadata["state"] = state if isinstance(state, str) else json.dumps(state)
    save_file({**load_file(path), **(arrays or {})}, path, metadata)


def test_a_checkpoint_gives_back_weights_and_state(saved):
    model, path = saved
    other = network()
    assert read_state(path) == load_checkpoint(path, other) == STATE
    for one, another in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)


@pytest.mark.parametrize(
    "state",
    [
        {**STATE, "step": -10},
        {**STATE, "step": "10"},
        {**STATE, "seconds": float("nan")},
        {**STATE, "history": None},
        {**STATE, "config": []},
        {**STATE, "best_psnr": "high"},
        {"step": 10},
        [],
        "{",
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_a_state_that_no_run_has_written_is_refused(saved, state):
    _, path = saved
    rewrite(path, state)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged or not a checkpoint"):
        read_state(path)


def test_weights_that_are_not_finite_are_refused_and_change_nothing(saved):
    model, path = saved
    before = model.get_weights()
    name = next(name for name in load_file(path) if name.startswith("model/"))
    rewrite(path, arrays={name: np.full_like(load_file(path)[name], np.nan)})
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors .*not finite"):
        load_checkpoint(path, model)
    for one, another in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, another)


def test_whatever_is_wrong_with_a_checkpoint_is_said_in_words_that_name_it(saved):
    model, path = saved
    for content in mutations(path.read_bytes(), 150):
        path.write_bytes(content)
        for read in (read_state, lambda path: load_checkpoint(path, model)):
            try:
                read(path)
            except ValueError as error:
                assert "checkpoint.safetensors" in str(error)  # noqa: PT017
