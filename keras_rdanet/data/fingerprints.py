"""Fingerprints that tell whether two images are the same, or nearly."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_rdanet.files import open_regular
from keras_rdanet.image.color import luma
from keras_rdanet.image.geometry import dihedral

_SIDE = 13
_ENDS = 2**16


@dataclass(frozen=True)
class Fingerprint:
    """Identifies an image.

    Args:
        pixels: SHA-256 of its samples, shape and dtype.
        look: Difference hash, hexadecimal. Its bits say whether each pixel of a
            13x13 thumbnail of the luma is lighter than its left and upper neighbour.
    """

    pixels: str
    look: str


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Take the fingerprint of an image, `(H, W, C)`, uint8, uint16 or float32."""
    digest = hashlib.sha256(f"{image.shape} {image.dtype}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return Fingerprint(digest.hexdigest(), _look(_thumbnail(image)))


def folder_fingerprint(path: str | os.PathLike) -> str:
    """Return what identifies the content of a folder, wherever it lies.

    That is a SHA-256, in hexadecimal, of the name below the folder, the size, and the first and
    last 64 KiB of every file: a whole training set is told from another in seconds.

    Raises:
        OSError: if something cannot be read.
    """
    root = Path(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        with open_regular(file) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            start = stream.read(_ENDS)
            stream.seek(max(size - _ENDS, 0))
            digest.update(f"{file.relative_to(root).as_posix()!r} {size}\n".encode())
            digest.update(start + stream.read(_ENDS))
    return digest.hexdigest()


def looks(image: np.ndarray) -> list[str]:
    """Take the difference hashes of an image in its eight orientations."""
    thumbnail = _thumbnail(image)
    return [_look(dihedral(thumbnail, mode)) for mode in range(8)]


def similarity(looks_a: list[str], looks_b: list[str]) -> np.ndarray:
    """Compare difference hashes.

    On photographs, unrelated ones stay below 0.6 and copies that were saved as
    JPEG at quality 30, halved, brightened or made noisy (sigma 25) above 0.78;
    a copy cropped by 5 % is not recognised (432 images of BSDS500 against 104 of
    BSD68, Kodak24 and Set12, all orientations).

    Returns:
        `(len(looks_a), len(looks_b))`, `1` where all bits agree, `0` for chance.
    """
    a, b = _signs(looks_a), _signs(looks_b)
    return a @ b.T / a.shape[1]


def _thumbnail(image: np.ndarray) -> np.ndarray:
    gray = luma(image) if image.shape[2] == 3 else image
    small = cv2.resize(gray.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small[..., None]


def _look(thumbnail: np.ndarray) -> str:
    gray = thumbnail[..., 0]
    bits = np.concatenate([(gray[:, 1:] > gray[:, :-1]).ravel(), (gray[1:] > gray[:-1]).ravel()])
    return np.packbits(bits).tobytes().hex()


def _signs(hashes: list[str]) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
