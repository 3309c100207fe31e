"""Parameters, operations, time and memory of a network, and the machine they were measured on."""

import contextlib
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("keras-rdanet", "numpy", "opencv-python-headless", "scikit-image", "bm3d")
NETWORK_PACKAGES = ("tensorflow", "keras", "jax", "ai-edge-litert", "onnxruntime")


def usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_parameters(model) -> int:
    """Count the trainable numbers of a Keras model; a shared layer counts once."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_accumulates(model, height: int, width: int) -> int:
    """Count the multiply-accumulates of one image through a Keras model.

    Every call of a layer with a kernel counts the size of the kernel times
    the number of output positions, or of input positions for a transposed
    convolution. Nothing is computed: the model is only traced.

    A layer that is called once and whose output is used twice counts once.
    The published count of TSP-RDANet includes a second, equal head convolution.

    Args:
        model: A Keras model of `(B, H, W, C)` images.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    counted: list[int] = []
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "kernel")]
    for layer in layers:
        layer.call = _counting(layer, counted)
    try:
        _trace(model, (1, height, width, model.inputs[0].shape[-1]))
    finally:
        for layer in layers:
            del layer.call  # uncovers the method of the class
    return sum(counted)


def _counting(layer, counted):
    call = layer.call
    transposed = "Transpose" in type(layer).__name__

    def counting(inputs, *args, **kwargs):
        outputs = call(inputs, *args, **kwargs)
        positions = math.prod((inputs if transposed else outputs).shape[:-1])
        counted.append(positions * math.prod(layer.kernel.shape))
        return outputs

    return counting


def _trace(model, shape):
    import keras

    if keras.backend.backend() == "jax":
        import jax

        # A new function each time: the trace of a known one is not repeated.
        jax.eval_shape(lambda images: model(images), jax.ShapeDtypeStruct(shape, "float32"))
    else:
        import tensorflow as tf

        tf.function(model).get_concrete_function(tf.TensorSpec(shape, tf.float32))


def latency(function: Callable, images, *, repeats: int = 5) -> float:
    """Measure the median time of a call in seconds, after one call to warm up.

    Args:
        function: An image function, or any function that returns a finished result.
        images: Images to call the function with.
        repeats: Number of timed calls, at least 1.
    """
    function(images)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(images)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_memory() -> int:
    """Return the largest resident memory this process has had, in bytes.

    The peak never falls, so each measurement needs a process of its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        # Not `ru_maxrss`: on Linux it starts from what the parent process had.
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available_memory() -> int | None:
    """Return how many bytes this process may still take; `None` where the system does not tell.

    That is what the machine has left, what the control groups of the process leave it (a
    container, say), and what its own limit on address space does, whichever is least.
    """
    left = [*_machine_memory(), *_group_memory(), *_address_space()]
    return max(min(left), 0) if left else None


def _machine_memory():
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _address_space():
    with contextlib.suppress(ImportError, OSError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            yield limit - pages * resource.getpagesize()


def _group_memory():
    """The memory left in each control group of the process, for both versions of control groups."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                root, limit, used = "/sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                root = "/sys/fs/cgroup/memory"
                limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            group = Path(root, path.lstrip("/"))
            for folder in (group, *group.parents):
                # The group of a container may not be visible from inside by its own path.
                with contextlib.suppress(OSError, ValueError):  # "max": no limit
                    yield int((folder / limit).read_text()) - _unreclaimable(folder, used)
                if folder == Path(root):
                    break


def _unreclaimable(folder, used):
    """The memory that a control group uses, without cached files that the system would drop."""
    cached = 0
    for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
        name, value = line.split()
        if name in ("inactive_file", "total_inactive_file"):
            cached = int(value)
    return int((folder / used).read_text()) - cached


# What the measured process runs: the module, and at its end the peak as the last line.
_MEASURED = """
import atexit, runpy, sys
from keras_rdanet.profiling import peak_memory
atexit.register(lambda: print(peak_memory()))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def peak_memory_of(module: str, *arguments) -> tuple[int, str]:
    """Run `python -m module arguments` and measure its largest resident memory.

    Returns:
        The peak in bytes, and what the module wrote to the standard output.

    Raises:
        subprocess.CalledProcessError: if the module ends with an error.
    """
    command = [sys.executable, "-c", _MEASURED, module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said, _, peak = done.stdout.rstrip().rpartition("\n")
    return int(peak), said


def environment() -> dict:
    """Describe the machine and the versions that a score or a timing came from.

    It loads no framework: the versions are those installed, and GPUs are
    named only if TensorFlow is already imported.
    """
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "gpus": _gpu_names(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in PACKAGES + NETWORK_PACKAGES if _version(name)
        },
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu_names():
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    describe = tensorflow.config.experimental.get_device_details
    gpus = tensorflow.config.list_physical_devices("GPU")
    return [describe(gpu).get("device_name", gpu.name) for gpu in gpus]
