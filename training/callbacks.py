"""Callbacks of a run: progress, validation, checkpoints and a stop if the loss is not finite."""

import contextlib
import csv
import io
import math
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_rdanet.evaluation.evaluate import padding_cells, restore
from keras_rdanet.files import write_text, writing
from keras_rdanet.image.io import Metadata, Picture, write_picture
from keras_rdanet.image.sheets import sheet
from keras_rdanet.tasks.base import EvaluationProtocol
from keras_rdanet.tasks.scoring import Sample
from keras_rdanet.training.checkpoint import save_checkpoint
from keras_rdanet.weights.store import save_weights


def averages(model) -> list | None:
    """The moving averages of the trainable weights, or `None` when none are kept."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return optimizer._model_variables_moving_average if optimizer.use_ema else None


@contextlib.contextmanager
def averaged(model):
    """While the block lasts, the model has the moving averages of its weights, if any are kept."""
    variables = model.trainable_variables if averages(model) else []
    current = [np.asarray(variable) for variable in variables]
    try:
        for variable, average in zip(variables, averages(model) or [], strict=True):
            variable.assign(np.asarray(average))
        yield
    finally:
        for variable, value in zip(variables, current, strict=True):
            variable.assign(value)


class NaNGuard(keras.callbacks.Callback):
    """Stops the run when the loss is not finite, and keeps the batches that led there.

    Args:
        folder: Where `nan_batch_STEP.npz` is written: the batch of the step
            whose loss was not finite and the one before, which may have
            spoilt the weights.
        batch_at: Function that makes the batch of a step again.
        start_step: Steps done before this run.
    """

    def __init__(self, folder: Path, batch_at: Callable, start_step: int):
        super().__init__()
        self.folder = folder
        self.batch_at = batch_at
        self.step = start_step

    def on_train_batch_end(self, batch, logs=None):
        """Look at the running mean of the loss, in which a NaN stays."""
        step = self.step
        self.step += 1
        loss = float(logs["loss"])
        if math.isfinite(loss):
            return
        arrays = {}
        for s in range(max(step - 1, 0), step + 1):
            arrays[f"degraded_{s}"], arrays[f"target_{s}"] = self.batch_at(s)
        path = self.folder / f"nan_batch_{step}.npz"
        with writing(path) as stream:
            np.savez(stream, **arrays)
        raise FloatingPointError(
            f"The loss became {loss} at step {step}; its batch and the one before are in {path}. "
            "Set a lower learning rate or `optimizer.clip_norm`, and resume if there is a "
            "checkpoint."
        )


class Progress(keras.callbacks.Callback):
    """A bar with loss, PSNR, time to go and the share of time spent waiting for input.

    Args:
        total: Number of steps of the whole run.
        start_step: Steps done before.
        input_wait: Function that returns the share of time spent waiting for input so far.
    """

    def __init__(self, total: int, start_step: int, input_wait: Callable[[], float]):
        super().__init__()
        self.total = total
        self.start_step = start_step
        self.input_wait = input_wait

    def on_train_begin(self, logs=None):
        """Open the bar; a log file gets a line a minute instead."""
        quiet = not sys.stderr.isatty()
        self.bar = tqdm(
            total=self.total,
            initial=self.start_step,
            unit="step",
            mininterval=60 if quiet else 0.5,
            dynamic_ncols=not quiet,
        )

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar."""
        self.bar.set_postfix_str(
            f"loss {float(logs['loss']):.5f}, input wait {self.input_wait():.0%}", refresh=False
        )
        self.bar.update()

    def on_train_end(self, logs=None):
        """Close the bar."""
        self.bar.close()


class Validation(keras.callbacks.Callback):
    """Scores the averaged weights on held-out crops, and draws some of them.

    Adds `val_psnr` (dB, as `evaluate` gives it) to the logs of every epoch, so
    it comes before the callbacks that write them.

    Args:
        protocol: Protocol that scores the samples.
        samples: Samples to restore and score.
        folder: Where `step_STEP.png` goes: degraded, restored and target.
        logs: Folder in which TensorBoard finds the pictures.
        steps_per_epoch: Number of steps in an epoch of the run.
    """

    def __init__(
        self,
        protocol: EvaluationProtocol,
        samples: list[Sample],
        folder: Path,
        logs: Path,
        steps_per_epoch: int,
    ):
        super().__init__()
        self.protocol = protocol
        self.writer = tf.summary.create_file_writer(str(logs))
        self.samples = samples
        self.folder = folder
        self.steps_per_epoch = steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        """Restore the samples and score them."""
        with averaged(self.model):
            function = padding_cells(self.model.image_function(), self.protocol)
            tile = "auto" if function.support == "nonlocal" else "off"
            restored = [restore(function, sample.degraded, tile) for sample in self.samples]
        scores = [
            self.protocol.scoring(image, sample.target).psnr
            for image, sample in zip(restored, self.samples, strict=True)
        ]
        logs["val_psnr"] = float(np.mean(scores))
        rows = [
            [
                ("degraded", sample.degraded),
                (f"restored, {decibels:.2f} dB", image),
                ("target", sample.target),
            ]
            for sample, image, decibels in islice(
                zip(self.samples, restored, scores, strict=True), 3
            )
        ]
        step = (epoch + 1) * self.steps_per_epoch
        drawn = sheet(rows)
        self.folder.mkdir(exist_ok=True)
        write_picture(self.folder / f"step_{step:07d}.png", Picture(drawn, None, Metadata()))
        with self.writer.as_default():
            tf.summary.image("degraded, restored, target", drawn[None], step=step)
        self.writer.flush()


class Checkpoint(keras.callbacks.Callback):
    """Writes what a resumed run needs, the weights to use, and the best of them.

    Args:
        folder: Folder of the run, which gets `checkpoint.safetensors` (everything, raw),
            `weights.safetensors` (averaged, ready for `restore`) and, with
            validation, `best.safetensors`.
        state: Values of the checkpoint besides weights and optimizer; this callback keeps them up
            to date.
        steps_per_epoch: Number of steps in an epoch of the run.
        metadata: Metadata of the weights files.
    """

    def __init__(self, folder: Path, state: dict, steps_per_epoch: int, metadata: dict):
        super().__init__()
        self.folder = folder
        self.state = state
        self.steps_per_epoch = steps_per_epoch
        self.metadata = metadata

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.clock = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Write the files, each atomically; the checkpoint last."""
        now = time.perf_counter()
        self.state["seconds"] += now - self.clock
        self.clock = now
        self.state["step"] = (epoch + 1) * self.steps_per_epoch
        row = {key: float(value) for key, value in logs.items()}
        self.state["history"].append({"step": self.state["step"], **row})
        psnr = row.get("val_psnr")
        metadata = {**self.metadata, "step": self.state["step"], "val_psnr": psnr}
        with averaged(self.model):
            save_weights(self.model, self.folder / "weights.safetensors", metadata=metadata)
            if psnr is not None and psnr > (self.state["best_psnr"] or -math.inf):
                self.state["best_psnr"] = psnr
                save_weights(self.model, self.folder / "best.safetensors", metadata=metadata)
        save_checkpoint(self.folder / "checkpoint.safetensors", self.model, self.state)
        write_history(self.folder / "history.csv", self.state["history"])


def write_history(path: Path, history: list[dict]) -> None:
    """One row for each epoch; the file is rewritten whole, so a resumed run has every row once."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(dict.fromkeys(key for row in history for key in row)))
    writer.writeheader()
    writer.writerows(history)
    write_text(path, table.getvalue())
