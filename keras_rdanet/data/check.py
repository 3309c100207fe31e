"""Checks of training images before a training."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from keras_rdanet.data.fingerprints import Fingerprint, fingerprint, looks, similarity
from keras_rdanet.data.packed import PackedSource
from keras_rdanet.data.sources import ImageSource, PairSource
from keras_rdanet.files import file_sha256
from keras_rdanet.image.source import Source

# Two images count as the same if their difference hashes are at least this similar; see
# `similarity`.
_ALIKE = 0.7


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Args:
        rows: Table of pairs `(property, value)`.
        errors: Messages, one for each image that must not be trained on.
        warnings: Messages, one for each image that should be looked at.
    """

    rows: tuple[tuple[str, str], ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    name: str
    height: int
    width: int
    channels: int
    depth: str
    fingerprint: Fingerprint
    looks: list[str]


def check(
    source: Source, *, against: ImageSource | None = None, min_size: int | None = None
) -> Report:
    """Decode every image and report on sizes, depths, duplicates and leaks.

    Duplicates are images with the same pixels, and are warnings. Leaks are
    images that are in a test set too, with the same pixels or alike (smaller,
    recompressed, noisy, turned or flipped), and are errors. Crops are not
    recognised. For pairs, the targets are compared.

    Args:
        source: Images, pairs or a packed set. For a packed set the sizes are
            those of its tiles; duplicates and leaks are those of the images.
        against: The test set.
        min_size: Least height and width in pixels, such as the patch size; smaller
            images are errors.
    """
    images, errors = _look_through(source, "Checking")
    rows = [("images", str(len(source)))]
    prints = {image.name: image.fingerprint for image in images}
    if isinstance(source, PackedSource):
        prints = {image.name: image.fingerprint for image in source.images}
        rows = [("images", str(len(source.images))), ("tiles", str(len(source)))]
    rows += [
        ("width x height", _sizes(images)),
        ("channels", _counts("gray" if image.channels == 1 else "RGB" for image in images)),
        ("depth", _counts(image.depth for image in images)),
        ("unreadable", str(len(errors))),
    ]
    if min_size is not None:
        small = [i for i in images if min(i.height, i.width) < min_size]
        errors += [f"{i.name} is only {i.width}x{i.height}" for i in small]
        rows.append((f"smaller than {min_size}", str(len(small))))
    duplicates = _duplicates(prints)
    rows.append(("exact duplicates", str(len(duplicates))))
    if against is not None:
        tests, unreadable = _look_through(against, "Comparing")
        same, alike = _leaks(prints, tests)
        errors += [*same, *alike, *unreadable]
        rows += [
            ("test images", f"{len(against)}, {len(unreadable)} unreadable"),
            ("in the test set", f"{len(same)} exactly, {len(alike)} alike"),
        ]
    return Report(tuple(rows), tuple(errors), tuple(duplicates))


def shared_images(training: Iterable[Source], validation: Source) -> list[str]:
    """Find images that are both trained on and validated with.

    Files are compared by size and SHA-256, packed images by their pixels; copies
    that were changed are found by `check`.

    Args:
        training: Sources of training images; of pairs, the targets count.
        validation: Images of validation.

    Returns:
        The names of the images of `validation` that are in `training`.
    """
    files: set[Path] = set()
    pixels: set[str] = set()
    for source in training:
        if isinstance(source, PackedSource):
            pixels |= {image.fingerprint.pixels for image in source.images}
        files |= set(_targets(source))
    by_size = defaultdict(list)
    for file in files:
        by_size[file.stat().st_size].append(file)
    shared = []
    for index, file in enumerate(_targets(validation)):
        alike = by_size.get(file.stat().st_size, [])
        known = alike and file_sha256(file) in {file_sha256(other) for other in alike}
        if known or (pixels and fingerprint(validation.read(index)[-1]).pixels in pixels):
            shared.append(validation.name(index))
    return shared


def _targets(source: Source) -> tuple[Path, ...]:
    if isinstance(source, PairSource):
        return source.target
    return source.paths if isinstance(source, ImageSource) else ()


def _look_through(source: Source, title: str) -> tuple[list[_Image], list[str]]:
    """Decode every image; return the readable ones, and the errors of the others."""

    def look(index: int) -> _Image | str:
        try:
            planes = source.read(index)
        except ValueError as error:
            return str(error)
        target = planes[-1]
        height, width, channels = target.shape
        depth = " and ".join(dict.fromkeys(plane.dtype.name for plane in planes))
        prints = fingerprint(target), looks(target)
        return _Image(source.name(index), height, width, channels, depth, *prints)

    with ThreadPoolExecutor() as pool:
        looked = pool.map(look, range(len(source)))
        seen = list(tqdm(looked, title, len(source), unit="image", leave=False, disable=None))
    return [i for i in seen if isinstance(i, _Image)], [i for i in seen if isinstance(i, str)]


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in Counter(values).most_common())


def _sizes(images: list[_Image]) -> str:
    sizes = [f"{image.width}x{image.height}" for image in images]
    if len(set(sizes)) <= 3:
        return _counts(sizes)
    ordered = sorted(images, key=lambda image: image.width * image.height)
    small, large = ordered[0], ordered[-1]
    return (
        f"{small.width}x{small.height} to {large.width}x{large.height} in area, "
        f"{len(set(sizes))} sizes, shortest side {min(min(i.height, i.width) for i in images)}"
    )


def _duplicates(prints: dict[str, Fingerprint]) -> list[str]:
    groups = defaultdict(list)
    for name, print_ in prints.items():
        groups[print_.pixels].append(name)
    return [f"{name} equals {first}" for first, *rest in groups.values() for name in rest]


def _leaks(prints: dict[str, Fingerprint], tests: list[_Image]) -> tuple[list[str], list[str]]:
    """List the images that are in the test set, by their pixels and by their difference hashes."""
    if not (prints and tests):
        return [], []
    by_pixels = {test.fingerprint.pixels: test.name for test in tests}
    hashes = [look for test in tests for look in test.looks]
    likeness = similarity([print_.look for print_ in prints.values()], hashes)
    best = likeness.argmax(axis=1)
    same, alike = [], []
    for row, (name, print_) in enumerate(prints.items()):
        if print_.pixels in by_pixels:
            same.append(f"{name} is {by_pixels[print_.pixels]} of the test set")
        elif likeness[row, best[row]] >= _ALIKE:
            alike.append(f"{name} looks like {tests[best[row] // 8].name} of the test set")
    return same, alike
