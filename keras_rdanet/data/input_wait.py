"""The time that training waits for its input."""

import threading
import time

import numpy as np
import tensorflow as tf


class InputWait:
    """Measures the time that training waits for its input.

    `model.fit` fetches batches inside a compiled function, where Python code
    does not run, so the clock is part of the dataset: it starts when a batch is
    requested and stops when the batch is there.

    Example:
        >>> wait = InputWait()
        >>> model.fit(wait.watch(data))
        >>> print(f"waited for input {wait.share():.0%} of the time")

    With several replicas it watches the thread that feeds them, which may wait
    ahead of the training: the share is then an upper bound.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start the measurement again."""
        with self._lock:
            self._since = time.perf_counter()
            self._waited = 0.0

    @property
    def seconds(self) -> float:
        """The time spent waiting since the last reset."""
        with self._lock:
            return self._waited

    def share(self) -> float:
        """Return the share of the time since the last reset spent waiting, 0 to 1."""
        with self._lock:
            return self._waited / max(time.perf_counter() - self._since, 1e-9)

    def watch(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return a dataset of the same batches that measures the waiting time."""

        def stop(asked, batch):
            tf.numpy_function(self._add, [tf.timestamp() - asked], [])
            return batch

        # Whoever asks a zipped dataset fetches its parts one after the other, in its own thread.
        asked = tf.data.Dataset.counter().map(lambda _: tf.timestamp())
        options = tf.data.Options()
        options.autotune.enabled = False  # it would fetch ahead of the stopwatch
        return tf.data.Dataset.zip(asked, dataset).map(stop).with_options(options)

    def _add(self, seconds: np.ndarray) -> None:
        with self._lock:
            self._waited += float(seconds)
