"""Several methods on the same inputs: scores side by side, and pictures to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from keras_rdanet.evaluation.baselines import baselines
from keras_rdanet.evaluation.evaluate import Result, evaluate
from keras_rdanet.evaluation.report import cell, markdown_table
from keras_rdanet.image.sheets import sheet
from keras_rdanet.image.source import Source
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.tasks.base import EvaluationProtocol, Task

# Side of the crops on the sheet in pixels, and number of images of a protocol on it.
CROP = 240
PICTURES = 4


@dataclass(frozen=True)
class Method:
    """A method that `compare` scores.

    Args:
        function: Function that restores images.
        tile, ensemble, details: Arguments of `evaluate`.
    """

    function: ImageFunction
    tile: str | int = "off"
    ensemble: bool = False
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The scores of several methods by one protocol.

    Args:
        title: Name of the protocol, and the level of the degradation.
        results: Scores of the methods, one result for each.
        pictures: Rows of captioned pictures, one row for each of the first images: the middle of
            input, restored images and target.
    """

    title: str
    results: tuple[Result, ...]
    pictures: tuple[list[tuple[str, np.ndarray]], ...]

    @property
    def input(self) -> str:
        """Name of the input in tables."""
        return "bicubic" if self.results[0].protocol.get("scale", 1) > 1 else "input"

    def means(self) -> list[dict]:
        """Return the mean scores as rows of a table, the input first."""
        first = self.results[0]
        rows = [{"method": self.input, **_means(first, "_degraded")}]
        for result in self.results:
            seconds = f"{result.seconds_per_image:.3g}"
            rows.append({"method": result.method["name"], **_means(result), "s/image": seconds})
        return rows

    def images(self) -> list[dict]:
        """Return the scores of each image as rows of a table."""
        rows = []
        for scores in zip(*(result.images for result in self.results), strict=True):
            row = {
                "image": scores[0].name,
                f"{self.input} (dB)": f"{scores[0].psnr_degraded:.2f}",
            }
            for result, image in zip(self.results, scores, strict=True):
                row[result.method["name"]] = f"{image.psnr:.2f} / {image.ssim:.4f}"
            rows.append(row)
        return rows

    def markdown(self) -> str:
        """Return means, scores of each image, protocol and methods as Markdown."""
        protocol = self.results[0].protocol
        details = [
            "- " + ", ".join(f"{key}: {cell(value)}" for key, value in result.method.items())
            for result in self.results
        ]
        parts = [
            f"## {self.title}",
            markdown_table(self.means()).rstrip(),
            "PSNR (dB) / SSIM of each image:",
            markdown_table(self.images()).rstrip(),
            "Protocol:",
            "\n".join(f"- {key}: {cell(value)}" for key, value in protocol.items()),
            "Methods:",
            "\n".join(details),
        ]
        return "\n\n".join(parts) + "\n"


def compare(
    methods: Sequence[Method],
    protocol: EvaluationProtocol | Task,
    source: Source,
    *,
    limit: int | None = None,
    progress: bool = False,
) -> Comparison:
    """Score each method on the same degraded images; arguments as in `evaluate`."""
    if isinstance(protocol, Task):
        protocol = protocol.protocol()
    results, columns = [], []
    for method in methods:
        crops: list[tuple[np.ndarray, ...]] = []

        def keep(sample, restored, crops=crops):
            if len(crops) < PICTURES:
                crops.append(tuple(map(_middle, (sample.enlarged, restored, sample.target))))

        results.append(
            evaluate(
                method.function,
                protocol,
                source,
                tile=method.tile,
                ensemble=method.ensemble,
                details=method.details,
                limit=limit,
                progress=progress,
                on_image=keep,
            )
        )
        columns.append(crops)
    comparison = Comparison(protocol.title, tuple(results), ())
    return replace(comparison, pictures=tuple(_rows(comparison, columns)))


def baseline_methods(sigma: float | None, channels: int) -> tuple[list[Method], list[str]]:
    """Return the classical denoisers, and a line for each not installed; see `baselines`."""
    found, missing = baselines(sigma, channels)
    return [Method(one.function, details=one.parameters) for one in found], missing


def comparison_sheet(comparisons: Sequence[Comparison]) -> np.ndarray:
    """Return one picture `(H, W, 3)` uint8: a row an image, input, methods, target."""
    return sheet([row for comparison in comparisons for row in comparison.pictures])


def _means(result: Result, which: str = "") -> dict:
    """The mean scores as cells of a table, of the input if `which` is `"_degraded"`."""
    cells = {
        "PSNR (dB)": f"{result.mean('psnr' + which):.2f}",
        "SSIM": f"{result.mean('ssim' + which):.4f}",
    }
    if result.has_psnr_b:
        cells["PSNR-B (dB)"] = f"{result.mean('psnr_b' + which):.2f}"
    return cells


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(side - CROP, 0) // 2 for side in image.shape[:2])
    return image[top : top + CROP, left : left + CROP].copy()


def _rows(comparison, columns) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Yield the captioned pictures of each image: input, methods, target."""
    for index, crops in enumerate(zip(*columns, strict=True)):
        scores = [result.images[index] for result in comparison.results]
        row = [(f"{comparison.input} {scores[0].psnr_degraded:.2f} dB", crops[0][0])]
        for result, score, crop in zip(comparison.results, scores, crops, strict=True):
            row.append((f"{result.method['name']} {score.psnr:.2f} dB", crop[1]))
        yield [*row, (f"target {scores[0].name}", crops[0][2])]
