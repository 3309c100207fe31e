"""What a model was trained for."""

from pathlib import Path

from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.inference.open import is_file
from keras_rdanet.tasks import registry
from keras_rdanet.weights import catalogue, store

# Tags of shipped weights that are not themselves called as a task.
TAGS = {"awgn": "gaussian_noise", "real": "camera_noise"}


def task_of(model: str | Path, function: ImageFunction) -> str | None:
    """Return the task that a model was trained for, `None` if it does not say.

    Args:
        model: Its name or path.
        function: The same, opened by `open_identified`.
    """
    if function.scale > 1:
        return registry.USUAL_ENLARGING
    task = function.task
    if not is_file(model):
        tag = catalogue.resolve(function.name).tag
        task = TAGS.get(tag, tag)
    elif str(model).endswith(".safetensors"):
        task = store.read_metadata(model).get("task")
    try:
        return None if task is None else registry.resolve(task)
    except ValueError:
        return None
