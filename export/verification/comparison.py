"""Comparing the outputs of an exported file and of its network for the same pictures."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from keras_rdanet.evaluation import stress_tests
from keras_rdanet.evaluation.evaluate import restore
from keras_rdanet.export.verification.tolerance import Tolerance
from keras_rdanet.image.io import to_float, to_samples
from keras_rdanet.image.source import Source
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.metrics import psnr
from keras_rdanet.tasks.base import EvaluationProtocol
from keras_rdanet.tasks.scoring import Sample, Scoring

# Seconds after which no further picture is begun: the reference kernels that
# run int16x8 on a CPU would take hours.
TIME_BUDGET = 20.0
TIMED_CALLS = 3


@dataclass(frozen=True)
class Parity:
    """The differences between an exported file and its network in float32.

    Args:
        max_abs_error: Largest difference of an output value, where white is 1.
        agreement: PSNR in dB between the outputs of network and file, clipped
            and not rounded; the mean over the pictures.
        psnr_float: PSNR in dB of the network's outputs by the protocol; the mean.
        psnr: PSNR in dB of the file's outputs by the protocol; the mean.
        pictures: Number of pictures that were scored.
        seconds: Seconds that the file takes for one picture.
        speedup: Seconds that the network in Keras takes in the same run,
            divided by `seconds`.
        stress_cases: Number of stress tests that were run.
        faults: Stress tests that the file fails and the network passes, with
            the reason.
    """

    max_abs_error: float
    agreement: float
    psnr_float: float
    psnr: float
    pictures: int
    seconds: float
    speedup: float
    stress_cases: int
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def psnr_loss(self) -> float:
        """The loss of PSNR of the file in dB; negative if it gains."""
        return self.psnr_float - self.psnr


@dataclass
class Reference:
    """A network in float32 with its outputs for the pictures that verify its files.

    Args:
        function: The network.
        samples: Pictures of one size.
        scoring: Comparison of results with targets, from the protocol of the samples.
    """

    function: ImageFunction
    samples: Sequence[Sample]
    scoring: Scoring

    def __post_init__(self):
        self.restored = [restore(self.function, sample.degraded) for sample in self.samples]
        self.faults: dict[tuple[int, int] | None, set[str]] = {}

    @cached_property
    def in_eight_bits(self) -> "Reference":
        """The reference for pictures clipped and rounded to 8 bits, as uint8 files take them."""
        rounded = [
            replace(sample, degraded=to_float(to_samples(sample.degraded, np.uint8)))
            for sample in self.samples
        ]
        return Reference(self.function, rounded, self.scoring)

    def faulty_cases(self, tile_shape: tuple[int, int] | None) -> set[str]:
        """Cases of the stress tests that the network itself fails in tiles of that shape."""
        if tile_shape not in self.faults:
            tiled = replace(self.function, tile_shape=tile_shape)
            found = _findings(tiled, _cases(tiled))
            self.faults[tile_shape] = {finding.case for finding in found if not finding.passed}
        return self.faults[tile_shape]


def crops(
    protocol: EvaluationProtocol, source: Source, function: ImageFunction, size: int, limit: int
) -> list[Sample]:
    """Cut the middle out of each degraded picture and its target.

    Args:
        protocol: Protocol that degrades the pictures.
        source: The pictures; those smaller than `size` are left out.
        function: The network, which says its channels and scale.
        size: Height and width of the degraded crops, in pixels.
        limit: Largest number of crops.

    Raises:
        ValueError: if every picture is too small.
    """
    found: list[Sample] = []
    for sample in protocol.samples(source, function.channels):
        height, width = sample.degraded.shape[:2]
        if min(height, width) >= size and len(found) < limit:
            found.append(_crop(sample, size, function.scale))
        if len(found) == limit:
            break
    if not found:
        raise ValueError(
            f"No picture is as large as {size}x{size} pixels when degraded; "
            "give larger pictures or a smaller size."
        )
    return found


def measure(
    function: ImageFunction, reference: Reference, time_budget: float = TIME_BUDGET
) -> tuple[Parity, np.ndarray]:
    """Compare an exported file with its network.

    Args:
        function: The file, opened.
        reference: The network.
        time_budget: Seconds after which the comparison begins no further picture, and seconds
            after which the stress tests begin no further case.

    Returns:
        The parity, and the output of the file for the first picture.

    Raises:
        ValueError: if the file restores another size than the network.
    """
    samples, scoring = reference.samples, reference.scoring
    start = time.perf_counter()
    first = restore(function, samples[0].degraded, "auto")
    warm = time.perf_counter() - start
    seconds, seconds_float = _interleaved(
        function, reference.function, samples[0].degraded[None], warm, time_budget
    )
    errors: list[float] = []
    agreements, scores, scores_float = [], [], []
    for sample, expected in _within(
        list(zip(samples, reference.restored, strict=True)), time_budget
    ):
        restored = restore(function, sample.degraded, "auto") if errors else first
        if restored.shape != expected.shape:
            raise ValueError(f"{function.name} gives {restored.shape}, not {expected.shape}.")
        errors.append(float(np.abs(restored - expected).max()))
        agreements.append(psnr(np.clip(restored, 0, 1), np.clip(expected, 0, 1), max_val=1))
        scores.append(scoring(np.nan_to_num(restored), sample.target).psnr)
        scores_float.append(scoring(expected, sample.target).psnr)
    findings = _findings(function, _within(_cases(function), time_budget))
    failed = {finding.case: finding.fault for finding in findings if not finding.passed}
    known = reference.faulty_cases(function.tile_shape) if failed else set()
    parity = Parity(
        max_abs_error=float(np.max(errors)),
        agreement=float(np.mean(agreements)),
        psnr_float=float(np.mean(scores_float)),
        psnr=float(np.mean(scores)),
        pictures=len(scores),
        seconds=seconds,
        speedup=seconds_float / seconds,
        stress_cases=len(findings),
        faults={case: fault for case, fault in failed.items() if case not in known},
    )
    return parity, first


def failures(parity: Parity, tolerance: Tolerance, trained: bool = True) -> tuple[str, ...]:
    """Return in words how a file misses its tolerance; nothing for a good file.

    Args:
        parity: Measured differences.
        tolerance: Limits for the differences between the file and its network.
        trained: Whether the network was trained; the PSNR of one that was not
            means nothing.
    """
    missed = []
    if not parity.psnr_loss <= tolerance.psnr_loss and trained:
        missed.append(f"loses {parity.psnr_loss:.3f} dB, {tolerance.psnr_loss} allowed")
    limit = tolerance.max_abs_error
    if limit is not None and not parity.max_abs_error <= limit:
        missed.append(f"differs by {parity.max_abs_error:.1e}, {limit:.0e} allowed")
    missed += [f"{case}: {fault}" for case, fault in parity.faults.items()]
    return tuple(missed)


def _cases(function: ImageFunction) -> list[stress_tests.Case]:
    """The stress tests; for files of a fixed size, pictures are cut to two tiles a side.

    Such a file never sees more than a tile, and the rest of these pictures repeats.
    """
    found = stress_tests.cases(function.channels)
    if function.tile_shape is None:
        return found
    height, width = (2 * side for side in function.tile_shape)
    return [replace(case, image=case.image[:height, :width]) for case in found]


def _findings(
    function: ImageFunction, cases: Iterable[stress_tests.Case]
) -> list[stress_tests.Finding]:
    """Run cases of the stress tests; what is enlarged is compared with repeated pixels."""
    found = []
    for case in cases:
        restored = restore(function, case.image, "auto")
        repeated = case.image.repeat(function.scale, axis=0).repeat(function.scale, axis=1)
        found.append(stress_tests.judge(replace(case, image=repeated), restored))
    return found


def _crop(sample: Sample, size: int, scale: int) -> Sample:
    height, width = sample.degraded.shape[:2]
    # Mosaics and the blocks of JPEG stay in phase.
    top, left = ((side - size) // 16 * 8 for side in (height, width))
    large = (slice(k * scale, (k + size) * scale) for k in (top, left))
    return replace(
        sample,
        degraded=sample.degraded[top : top + size, left : left + size],
        target=sample.target[tuple(large)],
    )


def _interleaved(
    function: Callable, other: Callable, images: np.ndarray, warm: float, time_budget: float
) -> tuple[float, float]:
    """The least seconds of each of two functions, called in turn.

    Both are warm; if the first took `warm` seconds and is too slow for more, that counts.
    """
    if warm * TIMED_CALLS > time_budget:
        return warm, _seconds(other, images)
    times = [(_seconds(function, images), _seconds(other, images)) for _ in range(TIMED_CALLS)]
    return min(first for first, _ in times), min(second for _, second in times)


def _seconds(function, images):
    start = time.perf_counter()
    function(images)
    return time.perf_counter() - start


def _within(items: Sequence, time_budget: float) -> Iterator:
    """Yield the first item, and more of them until `time_budget` seconds have passed."""
    end = time.perf_counter() + time_budget
    for index, item in enumerate(items):
        if index and time.perf_counter() > end:
            return
        yield item
