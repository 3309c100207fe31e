"""Loading TensorFlow for a command."""

import os
import sys
import tempfile


def load_tensorflow() -> None:
    """Import TensorFlow and find its devices, without its start-up messages.

    They are shown all the same when it fails, or when the user set
    `TF_CPP_MIN_LOG_LEVEL`.

    Raises:
        ImportError: naming the extra to install.
    """
    chatty = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        if not chatty:
            os.dup2(messages.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except ModuleNotFoundError as error:
            raise ImportError(
                f'{error.name} is not installed; install it with: pip install "keras-rdanet[train]"'
            ) from None
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
