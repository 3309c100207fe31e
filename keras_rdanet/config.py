"""The options of a training run, validated before anything heavy is loaded."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_float(value):
    # A whole number is fine where a number is meant; text never is.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Number = Annotated[float, BeforeValidator(_as_float)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class ModelOptions(_Options):
    """Which network, and what its weights start from."""

    preset: str
    overrides: dict[str, Any] = {}
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    weights: str | None = None  # a catalogue name or a .safetensors file to start from
    widen: str | None = None  # the same of a narrower network, see training.widening

    @model_validator(mode="after")
    def _one_start(self):
        if self.weights and self.widen:
            raise ValueError("give `weights` or `widen`, not both")
        return self


class Phase(_Options):
    """A stretch of the run with one patch and batch size."""

    steps: Count
    patch_size: Count
    batch_size: Count


class DataOptions(_Options):
    """Where the images come from and how crops are taken."""

    train: str  # a folder of clean images, a packed folder, or the degraded side of pairs
    target: str | None = None  # the clean side of pairs
    phases: Annotated[list[Phase], Field(min_length=1)]
    crops_per_image: Count = 8
    cache: Literal["auto", "ram", "none"] = "auto"
    augment: bool = True


class GaussianNoiseOptions(_Options):
    """Additive white Gaussian noise; sigma in gray levels of 0-255."""

    name: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: NotNegative | Annotated[tuple[NotNegative, NotNegative], Field(strict=False)]

    @model_validator(mode="after")
    def _ordered(self):
        if isinstance(self.sigma, tuple) and self.sigma[0] > self.sigma[1]:
            raise ValueError("the range of `sigma` must be [low, high]")
        return self


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
    """Images scored during the run; never training images."""

    data: str
    target: str | None = None  # the clean side when `data` holds degraded images
    sigma: NotNegative | None = None  # of the noise added to clean images; 25 if not given
    crop: Count | None = 256
    limit: Count = 12

    @model_validator(mode="after")
    def _one_degradation(self):
        if self.target is not None and self.sigma is not None:
            raise ValueError("pairs are noisy already: give `sigma` or `target`, not both")
        return self


class RunConfig(_Options):
    """Everything a training run needs; written beside its results."""

    model: ModelOptions
    data: DataOptions
    degradation: GaussianNoiseOptions | None = None
    mixup: MixUpOptions | None = None
    loss: LossOptions = LossOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: Annotated[MultiStepOptions | CosineOptions, Field(discriminator="name")]
    validation: ValidationOptions | None = None
    checkpoint_steps: Count = 500  # also how often the run is validated and logged
    seed: int = 1234
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
    distribution: Literal["none", "mirrored"] = "none"

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return sum(phase.steps for phase in self.data.phases)

    @model_validator(mode="after")
    def _consistent(self):
        if (self.data.target is None) == (self.degradation is None):
            raise ValueError(
                "give either `degradation` (clean images) or `data.target` (pairs), one of them"
            )
        if self.steps % self.checkpoint_steps:
            raise ValueError(
                f"the {self.steps} steps of `data.phases` must be a multiple of "
                f"`checkpoint_steps` ({self.checkpoint_steps})"
            )
        return self


def _override(values: dict, assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator:
        raise ValueError(f"An override reads key=value, got {assignment!r}.")
    *parents, last = key.strip().split(".")
    try:
        node: Any = values
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
        node[int(last) if isinstance(node, list) else last] = yaml.safe_load(text)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ValueError(f"Override {assignment!r}: the config has no place {key!r}.") from None


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> RunConfig:
    """Read a run config from YAML.

    Args:
        path: The YAML file.
        overrides: `key=value` texts, keys dotted (`schedule.peak=1.0e-4`,
            `data.phases.0.steps=100`); values are YAML.

    Raises:
        ValueError: naming every unknown or missing key and wrong value.
        OSError: if the file cannot be read.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
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


def _in_words(problem) -> str:
    # Pydantic names its validators and the members of unions as parts of the place.
    place = ".".join(
        str(part) for part in problem["loc"] if str(part).isidentifier() or isinstance(part, int)
    )
    reason = {
        "extra_forbidden": "there is no such option",
        "missing": "it must be given",
        "float_type": "it must be a number (write 2.0e-4: YAML reads 2e-4 as text)",
    }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{place or 'config'}: {reason}"
