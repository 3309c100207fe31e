"""From the options of a run to its parts."""

import functools
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_rdanet.config import ImageOptions, RunConfig
from keras_rdanet.data import packed, pipeline, sources
from keras_rdanet.image.source import Source
from keras_rdanet.keras_metrics import PSNR
from keras_rdanet.losses import RestorationLoss
from keras_rdanet.models import registry
from keras_rdanet.models.base import RestorationModel
from keras_rdanet.tasks.base import Task
from keras_rdanet.training.distillation import init_student
from keras_rdanet.training.mixup import mixup
from keras_rdanet.training.optimizers import Adam, AdamW, L2Adam
from keras_rdanet.training.schedules import CosineWithWarmup, MultiStep
from keras_rdanet.training.widening import widen


def build_model(config: RunConfig) -> RestorationModel:
    """The network, seeded by the run, with its starting weights if any.

    Raises:
        ValueError: if there is no such network or weights, or an override does not suit it.
    """
    keras.utils.set_random_seed(config.seed)
    options = config.model
    usual = registry.network(options.preset).PRESETS[options.preset]
    for name, value in options.overrides.items():
        if name in usual and not _alike(value, usual[name]):
            raise ValueError(
                f"`model.overrides.{name}` must be of the kind of {usual[name]!r}, got {value!r}."
            )
    model = registry.build(
        options.preset,
        precision=config.precision,
        initialization=options.initialization,
        **options.overrides,
    )
    if options.weights:
        start = registry.load(options.weights)
        if [tuple(v.shape) for v in start.variables] != [tuple(v.shape) for v in model.variables]:
            raise ValueError(
                f"`model.weights` {options.weights} are of another network than "
                f"{options.preset} with the overrides of this run."
            )
        model.set_weights(start.get_weights())
    if options.widen:
        widen(registry.load(options.widen), model, config.seed)
    if options.teacher:
        init_student(model, registry.load(options.teacher))
    return model


def _alike(value, usual):
    """Whether a value is of the kind of another; numbers are positive."""
    if isinstance(usual, list | tuple):
        items = value if isinstance(value, list | tuple) else []
        return bool(items) and all(_alike(item, usual[0]) for item in items)
    if isinstance(usual, float):
        return type(value) in (int, float) and value > 0
    return type(value) is type(usual) and (type(value) is not int or value > 0)


def build_optimizer(config: RunConfig) -> keras.optimizers.Optimizer:
    """The optimizer with its schedule; float16 adds loss scaling."""
    options = config.optimizer
    kwargs = {
        # Checkpoints are read by name; a default name has a number that depends on the process.
        "name": "optimizer",
        "learning_rate": build_schedule(config),
        "beta_1": options.beta_1,
        "beta_2": options.beta_2,
        "epsilon": options.epsilon,
        "global_clipnorm": options.clip_norm,
    }
    if options.ema:
        kwargs |= {"use_ema": True, "ema_momentum": options.ema}
    if options.name == "adamw":
        optimizer = AdamW(weight_decay=options.weight_decay, **kwargs)
    elif options.l2:
        optimizer = L2Adam(l2=options.l2, **kwargs)
    else:
        optimizer = Adam(**kwargs)
    if config.precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def build_schedule(config: RunConfig) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of each step."""
    options = config.schedule
    if options.name == "multistep":
        return MultiStep(options.initial, options.milestones, options.factor)
    period = options.period or config.steps // options.steps_per_epoch - options.warmup
    return CosineWithWarmup(
        options.peak, options.minimum, options.warmup, period, options.steps_per_epoch
    )


def compile_model(model: RestorationModel, config: RunConfig) -> None:
    """Attach optimizer, loss on every stage and a PSNR on the last one.

    Raises:
        ValueError: if the stage weights do not match the stages.
    """
    options = config.loss
    weights = options.stage_weights
    stages = model.stages
    if weights is not None and len(weights) != max(len(stages), 1):
        raise ValueError(
            f"`loss.stage_weights` has {len(weights)} numbers, "
            f"the network has {max(len(stages), 1)} supervised stages."
        )

    def loss():
        return RestorationLoss(options.pixel, options.edge_weight, options.clip)

    model.compile(
        optimizer=build_optimizer(config),
        loss={stage: loss() for stage in stages} if stages else loss(),
        loss_weights=(dict(zip(stages, weights, strict=True)) if stages else weights[0])
        if weights
        else None,
        metrics={stages[-1]: [PSNR()]} if stages else [PSNR()],
        jit_compile=config.xla,
    )


def check_task(task: Task, model: RestorationModel) -> None:
    """Refuse a task that degrades to images which the network does not take.

    Raises:
        ValueError: naming the task and what differs.
    """
    if task.scale != model.scale:
        raise ValueError(
            f"`degradation` {task.name} has scale {task.scale}, "
            f"but the network enlarges by {model.scale}; both must be the same."
        )
    if task.needs_rgb and model.channels != 3:
        raise ValueError(f"`degradation` {task.name} needs RGB images; take an RGB network.")


def open_source(options: ImageOptions, scale: int) -> Source:
    """The images of `data` or of `mix`: a folder, a packed folder or pairs with a scale."""
    if options.layout is not None:
        return sources.layout(options.layout, options.train, split="train", scale=scale)
    if options.target is not None:
        return sources.pairs(options.train, options.target, scale)
    return packed.open_folder(options.train)


def build_batches(
    config: RunConfig, model: RestorationModel, start_step: int = 0
) -> tf.data.Dataset:
    """All batches from `start_step` to the end of the run, as `model.fit` takes them.

    Batch `s` depends on the config and `s` alone, so a resumed run sees what
    it would have seen.

    Returns:
        A dataset of `(degraded, targets)`; `targets` has the structure of the
        model's output.

    Raises:
        ValueError: if the images, the patches or a degradation do not suit the
            network, or the run is over.
    """
    parts = [(config.data, config.degradation), *((mix, mix.degradation) for mix in config.mix)]
    for _, task in parts:
        if task is not None:
            check_task(task, model)
    opened = [(open_source(images, model.scale), task) for images, task in parts]

    def phase_batches(index, phase, done):
        check_patches(phase.patch_size, model, [task for _, task in opened])
        sizes = [mix.patches(phase.batch_size) for mix in config.mix]
        sizes = [phase.batch_size - sum(sizes), *sizes]
        made = [
            pipeline.batches(
                source,
                patch_size=phase.patch_size,
                batch_size=size,
                channels=model.channels,
                degrade=task,
                seed=config.seed + index + 1000 * number,
                start_step=done,
                steps=phase.steps - done,
                crops_per_image=config.data.crops_per_image,
                cache=config.data.cache,
                augment=config.data.augment,
                scale=model.scale,
            )
            for number, ((source, task), size) in enumerate(zip(opened, sizes, strict=True))
        ]
        if len(made) == 1:
            return made[0]
        return tf.data.Dataset.zip(*made).map(_joined)

    if start_step >= config.steps:
        raise ValueError(f"The run has {config.steps} steps and {start_step} are done already.")
    # Phases that are over stay in the dataset, empty: a step is traced for the patches of all
    # phases, and a step traced for fewer adds numbers in another order.
    phases = []
    first_step = 0
    for index, phase in enumerate(config.data.phases):
        done = min(max(start_step - first_step, 0), phase.steps)
        phases.append(phase_batches(index, phase, done))
        first_step += phase.steps
    dataset = functools.reduce(tf.data.Dataset.concatenate, phases)
    if config.mixup:
        steps = tf.data.Dataset.range(start_step, config.steps)
        dataset = tf.data.Dataset.zip(steps, dataset).map(
            mixup(config.mixup.alpha, config.mixup.from_step, config.seed)
        )
    return dataset.map(lambda degraded, target: (degraded, model.targets(target))).prefetch(2)


def check_patches(patch_size: int, model: RestorationModel, tasks: Sequence[Task | None]) -> None:
    """Refuse patches of a size that the network or a task does not take.

    Raises:
        ValueError: naming the sizes that are taken.
    """
    side = model.multiple * model.scale
    if patch_size % side or patch_size < model.min_size * model.scale:
        raise ValueError(
            f"`patch_size` {patch_size} does not suit the network: "
            f"its patches must be multiples of {side}, at least {model.min_size * model.scale}."
        )
    for task in tasks:
        if task is not None:  # Refuses a size here in clear words, in a pipeline in a traceback.
            task(tf.zeros((1, patch_size, patch_size, model.channels)), tf.zeros(2, tf.int32))


def _joined(*batches):
    """One batch of the patches of all."""
    degraded, targets = zip(*batches, strict=True)
    return tf.concat(degraded, axis=0), tf.concat(targets, axis=0)
