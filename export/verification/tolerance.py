"""Limits for the differences between an exported file and its network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """Limits for the differences between an exported file and its network in float32.

    Args:
        psnr_loss: Largest loss of PSNR on test pictures, in dB.
        max_abs_error: Largest difference of an output value, where white is 1;
            `None` for no limit.
    """

    psnr_loss: float
    max_abs_error: float | None = None
