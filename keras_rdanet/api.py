"""One function a job, as `import keras_rdanet as kr` offers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_rdanet.weights.from_torch import Report


def convert(
    source: str | Path,
    target: str | Path,
    *,
    preset: str,
    task: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> Report:
    """Convert weights of the original PyTorch code into a file that every model name may be.

    The license of the checkpoint holds for the new file, too.

    Args:
        source: A `.pth`, `.npz` or `.safetensors` file.
        target: The `.safetensors` file to write, whole or not at all; its
            folder must exist.
        preset: Name of the network that the checkpoint belongs to,
            `"tsp_rdanet_gray"` for instance.
        task: What the weights were trained for, an identifier of
            `keras_rdanet.tasks.registry`, `"gaussian_noise"` for instance.
        overrides: Constructor arguments that differ from the preset.
        dtype: `"float32"`, or `"float16"` for half the size.

    Returns:
        Which variables were loaded, as `from_torch` reports it; as text it is one line.

    Raises:
        ValueError: if the network or the task is unknown, the checkpoint does
            not fit the network, or `target` is no `.safetensors` file in an
            existing folder.
        OSError: if a file cannot be read or written.
        ImportError: if a `.pth` file needs PyTorch and it is not installed.
    """
    from keras_rdanet.models import registry
    from keras_rdanet.tasks.registry import resolve
    from keras_rdanet.weights import store
    from keras_rdanet.weights.from_torch import from_torch

    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise ValueError(f"{target} must end in .safetensors.")
    if not target.parent.is_dir():
        raise ValueError(f"There is no folder {target.parent} to write to.")
    # The tensors would fit a network with our additions as well, and give nonsense.
    arguments = {**registry.network(preset).AS_PUBLISHED, **(overrides or {})}
    metadata = {
        "preset": preset,
        "overrides": arguments,
        "task": task and resolve(task),
        "description": f"converted from {source.name}",
    }
    model = registry.build(preset, **arguments)
    report = from_torch(model, source)
    store.save_weights(model, target, metadata=metadata, dtype=dtype)
    return report
