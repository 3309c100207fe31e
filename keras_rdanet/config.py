"""The options of a training run, validated before anything heavy is loaded."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_float(value):
    # A whole number is fine where a number is meant; text never is.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Number = Annotated[float, BeforeValidator(_as_float)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _range(low: float, high: float = math.inf, whole: bool = False) -> BeforeValidator:
    """Accept a number, or a range `[low, high]` from which every sample draws its own."""
    what = "a whole number" if whole else "a number"
    kinds = int if whole else (int, float)
    limits = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"

    def check(value):
        ends = value if isinstance(value, list | tuple) else [value]
        numbers = all(isinstance(end, kinds) and not isinstance(end, bool) for end in ends)
        if not (numbers and len(ends) in (1, 2) and low <= ends[0] <= ends[-1] <= high):
            text = " (YAML reads 2e-4 as text: write 2.0e-4)" * any(
                isinstance(e, str) for e in ends
            )
            raise ValueError(
                f"it must be {what} {limits}, or a range [low, high], got {value!r}{text}"
            )
        return tuple(ends) if ends is value else value

    return BeforeValidator(check)


Range = float | tuple[float, float]
WholeRange = int | tuple[int, int]


class ModelOptions(_Options):
    """Which network, and what its weights start from."""

    preset: str
    overrides: dict[str, Any] = {}
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    weights: str | None = None  # a catalogue name or a .safetensors file to start from
    widen: str | None = None  # the same of a narrower network, see training.widening
    teacher: str | None = None  # the same of a teacher, see training.distillation

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


class GaussianNoiseOptions(_Options):
    """Additive white Gaussian noise; sigma and mean in gray levels of 0-255."""

    name: Literal["gaussian_noise"]
    sigma: Annotated[Range, _range(0)]
    mean: Number = 0.0
    grain: Annotated[Range, _range(1, 8)] = 1.0
    jpeg_quality: Annotated[WholeRange, _range(1, 100, whole=True)] | None = None


class CameraNoiseOptions(_Options):
    """See `keras_rdanet.tasks.camera_noise.CameraNoise`."""

    name: Literal["camera_noise"]
    shot: Annotated[Range, _range(1e-30, 1)] = (1e-4, 0.012)
    jpeg_quality: Annotated[WholeRange, _range(1, 100, whole=True)] | None = None
    grain: Annotated[Range, _range(1, 8)] = 1.0


class JPEGOptions(_Options):
    """JPEG compression, by a real encoder."""

    name: Literal["jpeg"]
    quality: Annotated[WholeRange, _range(1, 100, whole=True)]


class BayerMosaicOptions(_Options):
    """RGGB mosaics with zeros for the missing samples."""

    name: Literal["bayer_mosaic"]


class BicubicOptions(_Options):
    """MATLAB's antialiased bicubic downsampling, for super-resolution."""

    name: Literal["bicubic"]
    scale: Literal[2, 3, 4]


class MotionBlurOptions(_Options):
    """Camera motion along a path of `length` pixels that bends by `bend` degrees."""

    name: Literal["motion_blur"]
    length: Annotated[Range, _range(0)] = (5, 25)
    bend: Annotated[Range, _range(0)] = (0, 120)


class RainStreaksOptions(_Options):
    """See `keras_rdanet.tasks.rain.Rain`."""

    name: Literal["rain_streaks"]
    density: Annotated[Range, _range(0, 1)] = (0.001, 0.01)
    length: Annotated[Range, _range(0)] = (8, 32)
    angle: Annotated[Range, _range(-90, 90)] = (-30, 30)
    strength: Annotated[Range, _range(0, 1)] = (0.2, 0.8)


Degradation = Annotated[
    GaussianNoiseOptions
    | CameraNoiseOptions
    | JPEGOptions
    | BayerMosaicOptions
    | BicubicOptions
    | MotionBlurOptions
    | RainStreaksOptions,
    Field(discriminator="name"),
]


# Public sets whose folders are known, see `keras_rdanet.data.sources.LAYOUTS`.
Layout = Literal[
    "sidd",
    "polyu",
    "cc",
    "realsr_x2",
    "realsr_x3",
    "realsr_x4",
    "gopro",
    "rain100",
    "rain13k",
]


class ImageOptions(_Options):
    """Images to train on: clean ones, which `degradation` degrades, or pairs."""

    train: str  # a folder of clean images, a packed folder, or the degraded side of pairs
    target: str | None = None  # the clean side of pairs
    layout: Layout | None = None  # of the pairs in `train`, if they are a public set

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
    degradation: Degradation | None = None

    def patches(self, batch_size: int) -> int:
        """How many patches of a batch are these.

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
    """Images scored during the run; never training images."""

    data: str
    target: str | None = None  # the clean side when `data` holds degraded images
    layout: Layout | None = None  # of the pairs in `data`, if they are a public set
    degradation: Degradation | None = None  # of clean images; that of the run if not given
    sigma: NotNegative | None = None  # of Gaussian noise; 25 for a range
    crop: Count | None = 256
    limit: Count = 12

    @model_validator(mode="after")
    def _one_degradation(self):
        given = [self.target, self.layout, self.degradation, self.sigma]
        if sum(option is not None for option in given) > 1:
            raise ValueError(
                "give one of `target` and `layout` (pairs), `degradation` and `sigma` "
                "(clean images), not both"
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
    degradation: Degradation | None = None
    mix: list[MixOptions] = []
    mixup: MixUpOptions | None = None
    loss: LossOptions = LossOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: Annotated[MultiStepOptions | CosineOptions, Field(discriminator="name")]
    validation: ValidationOptions | None = None
    checkpoint_steps: Count = 500  # also how often the run is validated and logged
    seed: int = 1234
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False  # compiled, and equal to the last bit when run again or resumed
    distribution: Literal["none", "mirrored"] = "none"

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return sum(phase.steps for phase in self.data.phases)

    @property
    def validation_degradation(self) -> Degradation | None:
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
            scale = degradation.scale if isinstance(degradation, BicubicOptions) else 1
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
            if self.validation.sigma is not None and how.name != "gaussian_noise":
                raise ValueError(f"`validation.sigma` is of gaussian_noise, not of {how.name}")
        if self.steps % self.checkpoint_steps:
            raise ValueError(
                f"the {self.steps} steps of `data.phases` must be a multiple of "
                f"`checkpoint_steps` ({self.checkpoint_steps})"
            )
        return self


def _check_one_way(place: str, images: ImageOptions, degradation: Degradation | None) -> None:
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
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"Override {assignment!r}: what follows the = is not YAML.") from None
    try:
        node: Any = values
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
        node[int(last) if isinstance(node, list) else last] = value
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
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, as in configs/tsp_rdanet/gray.yaml.")
    for assignment in overrides:
        _override(values, assignment)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(_in_words(problem) for problem in error.errors())
        raise ValueError(f"{path}: {'; '.join(problems)}") from None


# Pydantic names the chosen member of a union in the place of a problem.
_MEMBERS = {
    get_args(options.model_fields["name"].annotation)[0]
    for options in (*get_args(get_args(Degradation)[0]), MultiStepOptions, CosineOptions)
}


def _in_words(problem) -> str:
    place = ".".join(
        str(part)
        for part in problem["loc"]
        if isinstance(part, int) or (part.isidentifier() and part not in _MEMBERS)
    )
    reason = {
        "extra_forbidden": "there is no such option",
        "missing": "it must be given",
        "float_type": "it must be a number (write 2.0e-4: YAML reads 2e-4 as text)",
        "union_tag_not_found": "it needs a `name`",
    }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        reason = f"there is no {context['tag']!r}; known: {context['expected_tags']}"
    return f"{place or 'config'}: {reason}"
