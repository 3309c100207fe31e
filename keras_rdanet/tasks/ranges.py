"""Options that are a number, or a range from which every sample of a batch draws its own."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import tensorflow as tf

Range: TypeAlias = float | Sequence[float]
WholeRange: TypeAlias = int | Sequence[int]


def check_range(
    name: str,
    value: Range,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
) -> None:
    """Refuse what is neither a number nor a range `(low, high)`.

    Args:
        name: Name of the argument, for the message.
        value: A number or a pair of them.
        what: Description of the accepted numbers, for the message.
        low: Least accepted number.
        high: Greatest accepted number.
        whole: Whether the numbers must be integers.

    Raises:
        ValueError: naming the argument, what is accepted and what came.
    """
    ends = _ends(value)
    kind = Integral if whole else Real
    numbers = len(ends) in (1, 2) and all(
        isinstance(end, kind) and not isinstance(end, bool) for end in ends
    )
    if not numbers or not low <= ends[0] <= ends[-1] <= high or not all(map(math.isfinite, ends)):
        raise ValueError(f"`{name}` must be {what} or a range (low, high), got {value!r}.")


def check_option(
    task: Any,
    name: str,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
) -> None:
    """Check an option of a frozen task as `check_range` does, and make a tuple of a list."""
    value = getattr(task, name)
    check_range(name, value, what, low, high, whole)
    if isinstance(value, list):
        object.__setattr__(task, name, tuple(value))


def fixed(name: str, value: Any) -> Any:
    """Return the one value of an option, for scoring.

    Raises:
        ValueError: if it is a range.
    """
    low, high = _ends(value)[0], _ends(value)[-1]
    if low != high:
        raise ValueError(f"Images are scored at one `{name}`, not at the range {value}.")
    return low


def nearest(value: Any, wanted: Any) -> Any:
    """Return the value of a number or a range that is nearest to the wanted one."""
    ends = _ends(value)
    return min(max(wanted, ends[0]), ends[-1])


def draw(value: Range, images: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
    """Draw a number for every image, uniformly; without a range it is the same for all.

    Args:
        value: A number or a pair of them.
        images: `(B, ...)`.
        seed: Two integers.

    Returns:
        `(B,)` float32.
    """
    import tensorflow as tf

    ends = _ends(value)
    return tf.random.stateless_uniform(tf.shape(images)[:1], seed, ends[0], ends[-1])


def draw_whole(value: WholeRange, images: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
    """Draw an integer for every image, both ends of a range included.

    Args:
        value: An integer or a pair of them.
        images: `(B, ...)`.
        seed: Two integers.

    Returns:
        `(B,)` int32.
    """
    import tensorflow as tf

    ends = _ends(value)
    shape = tf.shape(images)[:1]
    return tf.random.stateless_uniform(shape, seed, ends[0], ends[-1] + 1, dtype=tf.int32)


def _ends(value) -> tuple:
    return tuple(value) if isinstance(value, Sequence) else (value,)
