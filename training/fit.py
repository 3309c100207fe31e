"""A training run: `model.fit` from a config, resumable to the step."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_rdanet.config import RunConfig
from keras_rdanet.data.fingerprints import folder_fingerprint
from keras_rdanet.data.input_wait import InputWait
from keras_rdanet.files import read_json, reading, write_json
from keras_rdanet.ownership import locked, remove_leftovers
from keras_rdanet.training import build, callbacks
from keras_rdanet.training.checkpoint import load_checkpoint, read_state
from keras_rdanet.training.validation import validation_set, warn_of_shared_images

# Options that may change between a run and its continuation.
CHANGEABLE = {
    "checkpoint_steps",
    "data.cache",
    "data.phases",
    "distribution",
    "optimizer.clip_norm",
    "schedule",
    "validation",
    "xla",
}


# Names of folders, which may change where the content stays.
FOLDERS = ("data.train", "data.target", "mix.train", "mix.target")


def train(config: RunConfig, output: str | Path, *, resume: bool = False) -> dict:
    """Train a network and write everything a user needs to judge and use it.

    The folder `output` receives `config.json`, `checkpoint.safetensors`,
    `weights.safetensors` (averaged, ready for `restore`), `best.safetensors`,
    `history.csv`, `samples/`, `tensorboard/` and `report.json`.

    Args:
        config: The options of the run.
        output: Folder of the run: a new one, or with `resume` the folder of an earlier run.
        resume: Whether to continue from the last checkpoint; without one, the run starts. The
            folders of the training images may have moved, if their content is the same.

    Returns:
        The report: steps, pixels, seconds, scores, device and versions.

    Raises:
        ValueError: if the config contradicts itself, the data or the checkpoint.
        FloatingPointError: if the loss is not finite; the last checkpoint stays.
        OSError: if something cannot be read or written, or another job is writing to `output`.
    """
    output = Path(output)
    checkpoint = output / "checkpoint.safetensors"
    if not resume and checkpoint.exists():
        raise ValueError(f"{output} holds a run; add --resume to go on or choose another --output.")
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "best_psnr": None, "history": []}
    options = config.model_dump(mode="json")
    if resume and checkpoint.exists():
        state = read_state(checkpoint)
        with reading(checkpoint, "a checkpoint of this version"):
            # Options that an older version did not have get their defaults.
            before = RunConfig.model_validate(state["config"]).model_dump(mode="json")
        _check_same_run(before, options, state.get("folders", {}))
    state["config"] = options
    if state["step"] > config.steps or state["step"] % config.checkpoint_steps:
        raise ValueError(
            f"The checkpoint is at step {state['step']}, which does not fit a run of "
            f"{config.steps} steps with `checkpoint_steps` {config.checkpoint_steps}."
        )
    with _strategy(config).scope():
        model = build.build_model(config)
        build.compile_model(model, config)
        model.optimizer.build(model.trainable_variables)
    if state["step"]:
        load_checkpoint(checkpoint, model)
    if state["step"] == config.steps and (output / "report.json").exists():
        return read_json(output / "report.json")
    # Faults of the images are reported before anything is written.
    validation = validation_set(config, model)
    waited = None
    if state["step"] < config.steps:
        batches = build.build_batches(config, model, state["step"])
        warn_of_shared_images(config, model)
        state.setdefault("folders", _fingerprints(options))
        output.mkdir(parents=True, exist_ok=True)
        with locked(output / ".run.lock", f"the run {output}"):
            remove_leftovers(output, recursive=True)
            write_json(output / "config.json", options)
            waited = _fit(model, config, output, state, validation, batches)
    report = _report(config, state, waited)
    write_json(output / "report.json", report)
    return report


def _fit(model, config, output, state, validation, batches) -> float:
    start = state["step"]
    wait = InputWait()
    epochs = config.steps // config.checkpoint_steps
    metadata = {
        "preset": config.model.preset,
        "overrides": config.model.overrides,
        "task": config.task,
    }

    def batch_at(step):
        degraded, target = next(iter(build.build_batches(config, model, step)))
        return degraded.numpy(), tf.nest.flatten(target)[-1].numpy()

    watchers: list[keras.callbacks.Callback] = [
        callbacks.NaNGuard(output, batch_at, start),
        callbacks.Progress(config.steps, start, wait.share),
    ]
    logs = output / "tensorboard"
    if validation:
        places = output / "samples", logs / "samples"
        watchers.append(callbacks.Validation(*validation, *places, config.checkpoint_steps))
    watchers += [
        callbacks.Checkpoint(output, state, config.checkpoint_steps, metadata),
        keras.callbacks.TensorBoard(logs, write_graph=False),
    ]
    model.fit(
        wait.watch(batches),
        initial_epoch=start // config.checkpoint_steps,
        epochs=epochs,
        steps_per_epoch=config.checkpoint_steps,
        callbacks=watchers,
        verbose=0,
        shuffle=False,
    )
    return round(wait.share(), 4)


def _strategy(config):
    if config.distribution == "mirrored":
        return tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices("GPU")]
            or [device.name for device in tf.config.list_logical_devices("CPU")]
        )
    return tf.distribute.get_strategy()


def _flatten(options, prefix=""):
    for key, value in options.items():
        name = prefix + key
        if isinstance(value, dict) and name not in CHANGEABLE:
            yield from _flatten(value, name + ".")
        else:
            yield name, value


def _fingerprints(options):
    """The fingerprints of the training images, by the option that names their folder."""
    options = dict(_flatten(options))
    return {key: folder_fingerprint(options[key]) for key in FOLDERS if options.get(key)}


def _check_same_run(before, now, folders):
    """Refuse other options than before, but for folders that moved with the same content."""
    before, now = dict(_flatten(before)), dict(_flatten(now))
    changed = sorted(
        key
        for key in before.keys() | now.keys()
        if key not in CHANGEABLE
        and before.get(key) != now.get(key)
        and not (key in folders and now.get(key) and folder_fingerprint(now[key]) == folders[key])
    )
    if changed:
        raise ValueError(
            f"The run to resume has other options ({', '.join(changed)}); "
            "use the same config, or start a new run with `model.weights`."
        )


def _report(config, state, waited):
    final = state["history"][-1]
    return {
        "steps": state["step"],
        "pixels": sum(p.steps * p.patch_size**2 * p.batch_size for p in config.data.phases),
        "hours": round(state["seconds"] / 3600, 3),
        "input_wait_share": waited,
        "final": final,
        "best_val_psnr": state["best_psnr"],
        "config": state["config"],
        "device": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "gpus": len(tf.config.list_physical_devices("GPU")),
        },
        "versions": {
            name: version(name) for name in ("keras-rdanet", "keras", "tensorflow", "numpy")
        },
    }
