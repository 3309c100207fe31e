"""One function a job, as `import keras_rdanet as kr` offers them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_rdanet.evaluation.evaluate import Result
    from keras_rdanet.image.source import Source
    from keras_rdanet.inference.file import FileOptions
    from keras_rdanet.inference.restorer import Restorer
    from keras_rdanet.models.base import RestorationModel
    from keras_rdanet.tasks.base import Task
    from keras_rdanet.weights.from_torch import Report


def restore_file(
    source: str | Path,
    target: str | Path,
    model: Any = None,
    *,
    compare: str | Path | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict:
    """Restore a picture file, as `keras-rdanet restore` does.

    The result keeps the depth, the alpha channel, EXIF, the ICC profile and
    gray or color. It is written whole or not at all; `source` is never changed.

    Args:
        source: A PNG, JPEG, WebP, TIFF or BMP file.
        target: The file to write, whose suffix chooses the format; or a folder
            that exists, where the file gets the name of `source`.
        model: A `Restorer`, which serves many files, or any model that `Restorer` takes.
        compare: File for a picture that is the source in its left half and the result in its right
            half.
        on_tile: Function that is called after each tile with two numbers: the tiles done and all
            tiles.
        **options: Options of `Restorer`, such as `strength=0.7`, and of
            `inference.file.FileOptions`, such as `strip_metadata=True`.

    Returns:
        `height` and `width` of the result in pixels, `model`, `precision`,
        `seconds`, and `sigma`, in gray levels of 0-255, with `estimate_noise=True`.

    Raises:
        ValueError: if a file cannot be read or restored, or `target` cannot
            hold the result.
        TypeError: if there is no such option.
        OSError: if a file cannot be read or written.

    Example:
        >>> import keras_rdanet as kr
        >>> facts = kr.restore_file("noisy.png", "clean.png")
        >>> facts["model"]
        'tsp_rdanet_tiny_rgb'
    """
    from keras_rdanet.inference import file

    source, target = Path(source), Path(target)
    restorer, file_options = _opened(model, options)
    return file.restore_file(
        restorer,
        source,
        target / source.name if target.is_dir() else target,
        file_options,
        compare=None if compare is None else Path(compare),
        on_tile=on_tile,
    )


def restore_folder(
    source: str | Path,
    target: str | Path,
    model: Any = None,
    *,
    recursive: bool = False,
    resume: bool = False,
    jobs: int = 1,
    on_record: Callable[[dict], None] | None = None,
    **options: Any,
) -> list[dict]:
    """Restore the pictures of a folder into another one, under the same names.

    A picture that cannot be restored does not stop the others; `report.jsonl`
    in `target` says what became of each file.

    Args:
        source: The folder with the pictures.
        target: The folder to write to; it is made if it does not exist.
        model: A `Restorer`, or any model that `Restorer` takes.
        recursive: Whether to include sub-folders.
        resume: Whether to leave out what an earlier run has done already with
            the same pictures, model and options.
        jobs: Number of threads that read and write files around the one network.
        on_record: Function that is called with each new line of the report.
        **options: Options of `restore_file`.

    Returns:
        The lines of the report: `file`, `status` (`"ok"`, `"failed"`, `"skipped"`,
        or `"done"` for what an earlier run had restored), `reason` and, for
        restored ones, what `restore_file` returns.

    Raises:
        ValueError: if there is no picture, or one would be overwritten.
        TypeError: if there is no such option.
        OSError: if a folder cannot be read or written.

    Example:
        >>> import keras_rdanet as kr
        >>> lines = kr.restore_folder("photos", "cleaned")
        >>> [(line["file"], line["status"]) for line in lines]
        [('a.png', 'ok'), ('b.png', 'ok')]
    """
    from keras_rdanet.inference import folder

    restorer, file_options = _opened(model, options)
    return folder.restore_folder(
        restorer,
        Path(source),
        Path(target),
        file_options,
        recursive=recursive,
        resume=resume,
        jobs=jobs,
        on_record=on_record,
    )


def _opened(model: Any, options: Mapping[str, Any]) -> tuple[Restorer, FileOptions]:
    """The restorer and the options of files among options of both."""
    from keras_rdanet.inference.file import FileOptions
    from keras_rdanet.inference.restorer import Restorer

    of_files = {field.name for field in dataclasses.fields(FileOptions)} & options.keys()
    others = {name: value for name, value in options.items() if name not in of_files}
    if isinstance(model, Restorer):
        if others:
            raise TypeError(f"A `Restorer` has its options already, got {sorted(others)} as well.")
        restorer = model
    else:
        restorer = Restorer(model, **others)
    return restorer, FileOptions(**{name: options[name] for name in of_files})


def create_model(
    name: str | Path,
    *,
    weights: Literal["default"] | None = "default",
    precision: str | None = None,
    **overrides: Any,
) -> RestorationModel:
    """Make a network, with trained weights or with fresh ones.

    The network is a Keras model. It maps images `(N, H, W, C)`, float32,
    nominally in `[0, 1]`, to restored ones that are not clipped; a network that
    supervises several stages gives a dict of them, the restored images last.

    Args:
        name: Name of a network, `"tsp_rdanet_tiny_rgb"` for instance, with or
            without the tag of its weights; or the path of a `.safetensors` or
            `.keras` file that this package wrote.
        weights: `"default"` for the trained weights that ship with the package,
            or are in the file; `None` for fresh ones.
        precision: Precision of the computation: `"float32"`, or `"bfloat16"` or `"float16"` for
            mixed precision with float32 weights; `None` for Keras' global dtype policy.
        **overrides: Arguments of the network that differ from its preset.

    Returns:
        The model, whose `origin` says what it is.

    Raises:
        ValueError: if the name, the precision or an override is unknown, no
            weights ship for that network, or they do not fit the overrides.
        OSError: if the file cannot be read.

    Example:
        >>> import keras_rdanet as kr
        >>> model = kr.create_model("tsp_rdanet_tiny_rgb")
        >>> model.origin.task
        'gaussian_noise'
        >>> fresh = kr.create_model("rdn_rgb", weights=None, num_blocks=4)
        >>> fresh.origin.overrides
        {'num_blocks': 4}
    """
    from keras_rdanet.models import registry
    from keras_rdanet.weights import catalogue

    if weights not in ("default", None):
        raise ValueError(
            f"`weights` must be 'default' or None, got {weights!r}; the path of a weights file "
            "is given as the name."
        )
    if str(name).endswith((".safetensors", ".keras")):
        if weights is None or overrides:
            raise ValueError(f"{name} says what it is; it takes neither `weights` nor overrides.")
        return registry.load(name, precision=precision)
    name = str(name)
    registry.network(name.partition(".")[0])
    if weights is not None and catalogue.find(name) is None:
        shipped = ", ".join(entry.name for entry in catalogue.list_models())
        raise ValueError(
            f"No weights ship for {name}; `weights=None` makes a fresh network, the path of a "
            f".safetensors file opens your own. Trained ones: {shipped}."
        )
    return registry.build(name, precision=precision, load_weights=weights is not None, **overrides)


def dataset(
    folder: str | Path,
    model: RestorationModel,
    task: Task | None,
    *,
    patch_size: int = 96,
    batch_size: int = 8,
    seed: int = 0,
    target: str | Path | None = None,
    steps: int | None = None,
    crops_per_image: int = 8,
    cache: Literal["auto", "ram", "none"] = "auto",
    augment: bool = True,
    workers: int = 2,
) -> tf.data.Dataset:
    """Make batches of random patches to train a network with, for `model.fit`.

    Args:
        folder: Folder of clean images, which `task` degrades, one packed by
            `keras-rdanet data pack`, or, with `target`, of degraded ones.
        model: The network, which decides on the channels and the targets.
        task: Degradation of the patches, `kr.tasks.GaussianNoise(sigma=(0, 50))` for instance;
            `None` for pairs of images.
        patch_size: Height and width of a patch of the target, in pixels.
        batch_size: Number of patches in a batch.
        seed: Seed of all random choices, a 32-bit integer; the same seed makes the same batches.
        target: Folder of the clean partners of `folder`, matched by name.
        steps: Number of batches; `None` goes on forever, so that `fit` needs
            `steps_per_epoch`.
        crops_per_image: Number of steps that use an image before the next one is read.
        cache: Whether decoded images stay in memory: `"ram"`, `"none"`, or
            `"auto"` if they are small enough. The batches are the same.
        augment: Whether to turn and flip the patches.
        workers: Number of threads that prepare batches.

    Returns:
        A `tf.data.Dataset` of `(degraded, targets)`, float32: degraded patches
        `(batch_size, H, W, channels)`, nominally in `[0, 1]` and not clipped,
        and targets in `[0, 1]` in the structure of the output of the network.

    Raises:
        ValueError: if the images or the patches do not suit the network or the
            task, or both or neither of `task` and `target` are given.
        OSError: if an image cannot be read.

    Example:
        >>> import keras_rdanet as kr
        >>> model = kr.create_model("rdn_rgb", weights=None, num_blocks=1)
        >>> noise = kr.tasks.GaussianNoise(sigma=(0, 50))
        >>> data = kr.dataset("photos", model, noise, patch_size=16, batch_size=2, steps=1)
        >>> degraded, target = next(iter(data))
        >>> degraded.shape
        TensorShape([2, 16, 16, 3])
    """
    from keras_rdanet.data import packed, pipeline, sources
    from keras_rdanet.tasks.registry import parse
    from keras_rdanet.training import build

    if (task is None) == (target is None):
        raise ValueError("Give either a `task`, for clean images, or a `target`, for pairs.")
    if task is not None:
        task = parse(task)
        build.check_task(task, model)
    build.check_patches(patch_size, model, [task])
    batches = pipeline.batches(
        packed.open_folder(folder)
        if target is None
        else sources.pairs(folder, target, model.scale),
        patch_size=patch_size,
        batch_size=batch_size,
        channels=model.channels,
        degrade=task,
        seed=seed,
        steps=steps,
        crops_per_image=crops_per_image,
        cache=cache,
        augment=augment,
        scale=model.scale,
        workers=workers,
    )
    return batches.map(lambda degraded, clean: (degraded, model.targets(clean)))


def save_weights(
    model: RestorationModel,
    path: str | Path,
    *,
    task: str | None = None,
    description: str | None = None,
    license: str | None = None,
    dtype: str = "float32",
) -> None:
    """Write the weights of a network into a file that every model name may be.

    The preset, what differs from it, the task and the license come from
    `model.origin`, unless they are given.

    Args:
        model: A network that `create_model` made.
        path: The `.safetensors` file to write, whole or not at all; its folder
            must exist.
        task: Task of the weights, an identifier of `keras_rdanet.tasks.registry`.
        description: Description of the weights in words.
        license: Conditions under which the weights may be used.
        dtype: `"float32"`, or `"float16"` for half the size.

    Raises:
        ValueError: if the network was made by its class instead of from a
            preset, the task is unknown, or a weight is not finite in `dtype`.
        OSError: if the file cannot be written.

    Example:
        >>> import keras_rdanet as kr
        >>> model = kr.create_model("rdn_rgb", weights=None, num_blocks=1)
        >>> kr.save_weights(model, "mine.safetensors", task="jpeg")
        >>> kr.create_model("mine.safetensors").origin.task
        'jpeg'
    """
    from keras_rdanet.weights import store

    given = {"task": task, "description": description, "license": license}
    facts = {key: value for key, value in given.items() if value is not None}
    store.save_weights(model, path, metadata={**store.describe(model), **facts}, dtype=dtype)


def evaluate(
    model: Any,
    folder: str | Path,
    *,
    task: str | None = None,
    target: str | Path | None = None,
    layout: str | None = None,
    split: Literal["train", "test"] | None = None,
    limit: int | None = None,
    tile: str | int | None = None,
    self_ensemble: bool = False,
    precision: str | None = None,
    trust_model: bool = False,
    progress: bool = False,
    **options: Any,
) -> Result:
    """Score a model on a test set by the protocol of its task.

    Args:
        model: Name of a network or a family, path of a weights file or of an
            exported file, a Keras model or an `ImageFunction`.
        folder: Folder of clean 8-bit images, which the task degrades; or, with
            `target` or `layout`, of pairs.
        task: Identifier of a task in `keras_rdanet.tasks.registry`, `"gaussian_noise"` for
            instance; by default the task that the model was trained for.
        target: Folder of the clean partners of `folder`, matched by name.
        layout: Name of a public set of pairs, `"sidd"` for instance.
        split: `"train"` or `"test"`, the part of that set.
        limit: Largest number of images; by default all.
        tile: `"off"` for whole images, the default where the model takes them;
            `"auto"` or a number of pixels for blended tiles; `"four"` or
            `"chop"` for the tiles of published scores.
        self_ensemble: Whether to average over the eight flips and turns.
        precision: `"float32"` or `"bfloat16"`, for a name; by default float32.
        trust_model: Whether an exported file may hold any operation; otherwise
            one that can do more than compute is refused.
        progress: Whether to show a bar.
        **options: Options of the task's protocol: `sigma`, in gray levels of
            0-255, and `mean` of Gaussian noise, `quality` of JPEG,
            `crop_border` of pairs. Without a level, the middle one of the
            usual ones is scored: sigma 25, quality 20.

    Returns:
        The scores of every image: PSNR in dB and SSIM of the restored 8-bit
        image, and how they were measured. `result.mean("psnr")` is their mean.

    Raises:
        ValueError: if the task is not known, an option is not one of the
            task's or has several values, or an image cannot be scored.
        OSError: if a file cannot be read.

    Example:
        >>> import keras_rdanet as kr
        >>> result = kr.evaluate("tsp_rdanet_tiny_rgb", "photos", sigma=25)
        >>> result.mean("psnr") > result.mean("psnr_degraded")
        True
    """
    from keras_rdanet.data import sources
    from keras_rdanet.evaluation import evaluate as scoring

    if target is not None and layout is not None:
        raise ValueError("Give either `target` or `layout`: both say where the pairs are.")
    channels = sources.folder(target or folder).headers(0)[-1].channels
    function, details = scoring.open_identified(
        model, precision=precision, channels=channels, trust=trust_model
    )
    source: Source
    if layout is not None:
        source = sources.layout(layout, folder, split=split, scale=function.scale)
    elif target is not None:
        source = sources.pairs(folder, target, function.scale)
    else:
        source = sources.folder(folder, recursive=False)
    if tile is None:
        whole = function.tile_shape is None and function.support != "nonlocal"
        tile = "off" if whole else "auto"
    return scoring.evaluate(
        function,
        _protocol(function, task, layout, source.paired, options),
        source,
        tile=tile,
        ensemble=self_ensemble,
        limit=limit,
        details=details,
        progress=progress,
    )


def _protocol(function, task, layout, paired, options):
    """How a model is scored: the protocol of the middle level, if a task has several."""
    from keras_rdanet.evaluation.evaluate import task_of
    from keras_rdanet.tasks import registry

    if layout is not None:
        owner, published = registry.layout(layout)
        task = task or owner.name
        if published.crop_border is not None:
            options = {"crop_border": published.crop_border, **options}
    several = [name for name, value in options.items() if isinstance(value, list | tuple)]
    if several:
        raise ValueError(
            f"`{several[0]}` takes one value, got {options[several[0]]!r}; call `evaluate` once "
            "for each of them."
        )
    task = task or task_of(function)
    if task is None and not paired:
        raise ValueError(
            f"{function.name} does not say what it was trained for; give a `task`, one of "
            f"{', '.join(registry.TASKS)}."
        )
    protocols = registry.protocols(task, function.scale, paired=paired, **options)
    return protocols[(len(protocols) - 1) // 2]


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
        task: Task that the weights were trained for, an identifier of
            `keras_rdanet.tasks.registry`, `"gaussian_noise"` for instance.
        overrides: Constructor arguments that differ from the preset.
        dtype: `"float32"`, or `"float16"` for half the size.

    Returns:
        The report of `from_torch` on the variables that were loaded; as text it is one line.

    Raises:
        ValueError: if the network or the task is unknown, the checkpoint does
            not fit the network, or `target` is no `.safetensors` file in an
            existing folder.
        OSError: if a file cannot be read or written.
        ImportError: if a `.pth` file needs PyTorch and it is not installed.

    Example:
        >>> import keras_rdanet as kr
        >>> options = {"filters": 8, "use_bias": True}
        >>> report = kr.convert(
        ...     "original.npz",
        ...     "converted.safetensors",
        ...     preset="tsp_rdanet_gray",
        ...     task="gaussian_noise",
        ...     overrides=options,
        ... )
        >>> print(report)
        54 variables loaded
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
