"""Damaged files for the tests of readers."""

import numpy as np


def mutations(content, count, seed=0):
    """Yield damaged versions of a file: bytes changed, cut out or repeated, or the end lost."""
    random = np.random.default_rng(seed)
    for number in range(count):
        damaged = bytearray(content)
        place = int(random.integers(len(content)))
        length = int(random.integers(1, 9))
        match number % 4:
            case 0:
                damaged[place : place + length] = random.bytes(length)
            case 1:
                del damaged[place : place + length]
            case 2:
                damaged[place:place] = damaged[place : place + length]
            case 3:
                del damaged[place:]
        yield bytes(damaged)
