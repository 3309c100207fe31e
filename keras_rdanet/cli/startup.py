"""Loading TensorFlow for a command."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what TensorFlow writes to the stderr of the process while it starts.

    It is shown after all if the block fails, or with
    `TF_CPP_MIN_LOG_LEVEL=0`.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except (ValueError, OSError, ImportError):
            raise  # an error of ours, which says enough
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def load_tensorflow() -> None:
    """Import TensorFlow and find its devices, quietly."""
    with quiet():
        import tensorflow as tf

        tf.config.list_physical_devices()
