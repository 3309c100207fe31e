"""The options of a training run, validated before anything heavy is loaded."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from keras_rdanet.tasks import registry
from keras_rdanet.tasks.base import Task


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_float(value):
    # An integer is accepted for a number; text is not.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Number = Annotated[float, BeforeValidator(_as_float)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


# A task with its options, `{name: gaussian_noise, sigma: [0, 50]}` say.
TaskOptions = Annotated[
    Task,
    PlainValidator(registry.parse),
    PlainSerializer(lambda task: task.options(), return_type=dict[str, Any]),
]
# A public set whose folders are known, see `tasks.registry.layouts`.
Layout = Annotated[str, AfterValidator(registry.check_layout)]


class ModelOptions(_Options):
    """Which network, and what its weights start from."""

    preset: str
    overrides: dict[str, Any] = {}
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    weights: str | None = None  # catalogue name or .safetensors file to start from
    widen: str | None = None  # weights of a narrower network, see training.widening
    teacher: str | None = None  # weights of a teacher, see training.distillation

    @model_validator(mode="after")
    def _one_start(self):
        if sum(start is not None for start in (self.weights, self.widen, self.teacher)) > 1:
            raise ValueError("give one of `weights`, `widen` and `teacher`")
        return self


class Phase(_Options):
    """A stretch of the run with one patch and batch size."""

    steps: Count
    patch_size: Count
    batch_size: Count


class ImageOptions(_Options):
    """Images to train on: clean ones, which `degradation` degrades, or pairs."""

    train: str  # a folder of clean images, a packed folder, or the degraded side of pairs
    target: str | None = None  # the clean side of pairs
    layout: Layout | None = None  # layout of the pairs in `train`, if they are a public set

    @model_validator(mode="after")
    def _one_kind_of_pairs(self):
        if self.target is not None and self.layout is not None:
            raise ValueError("give `target`, or the `layout` of a public set, not both")
        return self

    @property
    def paired(self) -> bool:
        """Whether targets come with their degraded images."""
        return self.target is not None or self.layout is not None


class DataOptions(ImageOptions):
    """Where the images come from and how crops are taken."""

    phases: Annotated[list[Phase], Field(min_length=1)]
    crops_per_image: Count = 8
    cache: Literal["auto", "ram", "none"] = "auto"
    augment: bool = True


class MixOptions(ImageOptions):
    """Further images, which make up a share of every batch."""

    share: Annotated[Number, Field(gt=0, lt=1)]
    degradation: TaskOptions | None = None

    def patches(self, batch_size: int) -> int:
        """The number of these patches in a batch.

        Raises:
            ValueError: if the share is no whole number of patches.
        """
        count = round(self.share * batch_size)
        if not math.isclose(count, self.share * batch_size):
            raise ValueError(
                f"a `mix` share of {self.share:g} is no whole number of the "
                f"{batch_size} patches of a batch"
            )
        return count


class MixUpOptions(_Options):
    """Convex combinations of the samples of a batch, weights from Beta(alpha, alpha)."""

    alpha: Positive = 0.6
    from_step: Annotated[int, Field(ge=0)] = 0


class LossOptions(_Options):
    """Arguments of `RestorationLoss` and the weight of each stage, last stage last."""

    pixel: Literal["mse", "l1", "charbonnier"] = "mse"
    edge_weight: NotNegative = 0.0
    clip: bool = False
    stage_weights: list[NotNegative] | None = None


class OptimizerOptions(_Options):
    """Adam, or AdamW with decoupled decay; `l2` adds the classic gradient term."""

    name: Literal["adam", "adamw"] = "adam"
    beta_1: NotNegative = 0.9
    beta_2: NotNegative = 0.999
    epsilon: Positive = 1e-8
    weight_decay: NotNegative = 0.0
    l2: NotNegative = 0.0
    clip_norm: Positive | None = None
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.0  # momentum of the averaged weights; 0: none

    @model_validator(mode="after")
    def _decays(self):
        if self.weight_decay and self.name != "adamw":
            raise ValueError("`weight_decay` belongs to adamw; adam takes `l2`")
        if self.l2 and self.name != "adam":
            raise ValueError("`l2` belongs to adam; adamw takes `weight_decay`")
        return self


class MultiStepOptions(_Options):
    """See `keras_rdanet.training.schedules.MultiStep`."""

    name: Literal["multistep"]
    initial: Positive
    milestones: list[Count]
    factor: Positive = 0.5


class CosineOptions(_Options):
    """See `keras_rdanet.training.schedules.CosineWithWarmup`; `period: null` ends with the run."""

    name: Literal["cosine"]
    peak: Positive
    minimum: NotNegative = 1e-6
    warmup: Annotated[int, Field(ge=0)] = 0
    period: Count | None = None
    steps_per_epoch: Count = 1


class ValidationOptions(_Options):
    """Images scored during the run; never training images.

    Evaluation options of the run's task stand beside the others and are
    gathered in `level`: `{data: FOLDER, sigma: 15}` is scored at sigma 15.
    """

    data: str
    target: str | None = None  # the clean side when `data` holds degraded images
    layout: Layout | None = None  # layout of the pairs in `data`, if they are a public set
    degradation: TaskOptions | None = None  # for clean images; by default the run's degradation
    level: dict[str, Any] = {}  # evaluation options of the task, instead of the run's options
    crop: Count | None = 256
    limit: Count = 12

    @model_validator(mode="before")
    @classmethod
    def _gather_level(cls, values):
        if not isinstance(values, dict):
            return values
        names = {o.name for task in registry.TASKS.values() for o in task.evaluation_options}
        beside = {name: value for name, value in values.items() if name in names}
        if not beside:
            return values
        rest = {name: value for name, value in values.items() if name not in names}
        given = {name: value for name, value in beside.items() if value is not None}
        return {**rest, "level": {**(rest.get("level") or {}), **given}}

    @model_validator(mode="after")
    def _one_degradation(self):
        given = [self.target, self.layout, self.degradation, self.level or None]
        if sum(option is not None for option in given) > 1:
            beside = "".join(f" and `{name}`" for name in self.level) or " and a level"
            raise ValueError(
                "give one of `target` and `layout` (pairs), `degradation`"
                f"{beside} (clean images), not both"
            )
        return self

    @property
    def paired(self) -> bool:
        """Whether the images are pairs."""
        return self.target is not None or self.layout is not None


class RunConfig(_Options):
    """Everything a training run needs; written beside its results."""

    model: ModelOptions
    data: DataOptions
    degradation: TaskOptions | None = None
    mix: list[MixOptions] = []
    mixup: MixUpOptions | None = None
    loss: LossOptions = LossOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: Annotated[MultiStepOptions | CosineOptions, Field(discriminator="name")]
    validation: ValidationOptions | None = None
    checkpoint_steps: Count = 500  # steps between checkpoints, validations and lines of the log
    seed: int = 1234
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False  # whether steps are compiled; runs are then reproducible to the last bit
    distribution: Literal["none", "mirrored"] = "none"

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return sum(phase.steps for phase in self.data.phases)

    @property
    def task(self) -> str | None:
        """Identifier of the task that the network is trained for, `None` for unnamed pairs."""
        if self.degradation is not None:
            return self.degradation.name
        return None if self.data.layout is None else registry.layout(self.data.layout)[0].name

    @property
    def validation_degradation(self) -> TaskOptions | None:
        """How the images of `validation` are degraded; `None` if they are pairs."""
        if self.validation is None or self.validation.paired:
            return None
        return self.validation.degradation or self.degradation

    @model_validator(mode="after")
    def _consistent(self):
        _check_one_way("data", self.data, self.degradation)
        for i, mix in enumerate(self.mix):
            _check_one_way(f"mix.{i}", mix, mix.degradation)
        for phase in self.data.phases:
            if sum(mix.patches(phase.batch_size) for mix in self.mix) >= phase.batch_size:
                raise ValueError("the shares of `mix` must leave patches to `data.train`")
        for degradation in (self.degradation, *(mix.degradation for mix in self.mix)):
            scale = 1 if degradation is None else degradation.scale
            for phase in self.data.phases:
                if phase.patch_size % scale:
                    raise ValueError(
                        f"`patch_size` {phase.patch_size}, that of the targets, must be a "
                        f"multiple of the scale, {scale}"
                    )
        if self.validation is not None and not self.validation.paired:
            how = self.validation_degradation
            if how is None:
                raise ValueError("`validation` needs `target` (pairs) or `degradation`")
            known = [option.name for option in how.evaluation_options if not option.of_pairs]
            for name in self.validation.level:
                if name not in known:
                    raise ValueError(f"`validation.{name}` is no option of {how.name}")
        if self.steps % self.checkpoint_steps:
            raise ValueError(
                f"the {self.steps} steps of `data.phases` must be a multiple of "
                f"`checkpoint_steps` ({self.checkpoint_steps})"
            )
        return self


def _check_one_way(place: str, images: ImageOptions, degradation: TaskOptions | None) -> None:
    if images.paired == (degradation is not None):
        raise ValueError(
            f"give either `degradation` (clean images) or `{place}.target` or "
            f"`{place}.layout` (pairs), one of them"
        )


def _override(values: dict, assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator:
        raise ValueError(f"An override reads key=value, got {assignment!r}.")
    *parents, last = key.strip().split(".")
    try:
        value = _parsed(text)
    except ValueError:
        short = shortened(repr(assignment))
        raise ValueError(f"Override {short}: what follows the = is not YAML.") from None
    try:
        node: Any = values
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
        node[int(last) if isinstance(node, list) else last] = value
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ValueError(f"Override {assignment!r}: the config has no place {key!r}.") from None


# Lists and mappings inside each other; our configs have five.
MAX_DEPTH = 30


class _Loader(yaml.SafeLoader):
    """YAML with numbers such as 2e-4, which PyYAML reads as text, and without aliases.

    A few lines of aliases of aliases stand for gigabytes; deep nesting takes minutes.
    """

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError("it is nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _parsed(text: str) -> Any:
    """Read YAML.

    Raises:
        ValueError: with one line that says why it cannot be read.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(shortened(" ".join(str(error).split()))) from None


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> RunConfig:
    """Read a run config from YAML.

    Args:
        path: The YAML file.
        overrides: Texts `key=value`, with dotted keys (`schedule.peak=1.0e-4`,
            `data.phases.0.steps=100`) and values in YAML.

    Raises:
        ValueError: naming every unknown or missing key and wrong value.
        OSError: if the file cannot be read.
    """
    try:
        values = _parsed(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, as in configs/tsp_rdanet/gray.yaml.")
    for assignment in overrides:
        _override(values, assignment)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(_in_words(problem) for problem in error.errors())
        raise ValueError(f"{path}: {'; '.join(problems)}") from None


# Pydantic includes the chosen member of a union in the location of a problem.
_MEMBERS = {"multistep", "cosine"}


def _in_words(problem) -> str:
    place = ".".join(
        str(part)
        for part in problem["loc"]
        if isinstance(part, int) or (part.isidentifier() and part not in _MEMBERS)
    )
    reason = {
        "extra_forbidden": "there is no such option",
        "missing": "it must be given",
        "float_type": "it must be a number",
        "union_tag_not_found": "it needs a `name`",
    }.get(problem["type"], shortened(problem["msg"].removeprefix("Value error, ")))
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        reason = f"there is no {context['tag']!r}; known: {context['expected_tags']}"
    return f"{place or 'config'}: {reason}"


def shortened(text: str, limit: int = 200) -> str:
    """Cut a text for a message of one line."""
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
