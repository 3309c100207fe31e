"""HDF5 files that keep to themselves: no links out of them, no claims beyond what they store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

# Bytes in memory for each byte stored: images compress by less, and what claims more is empty.
MAX_EXPANSION = 100
# Small arrays may be wholly of one value.
ALWAYS_ALLOWED_BYTES = 2**16


def contained(file: h5py.File, path: str | Path) -> list[tuple[int, ...]]:
    """Refuse an HDF5 file that leads to other files or claims much more than it stores.

    Args:
        file: The file, open.
        path: What it is called in errors.

    Returns:
        The shapes of its arrays.

    Raises:
        ValueError: if it holds a soft or external link, an array that is stored in other files,
            or one of more than `MAX_EXPANSION` times the bytes that are stored for it.
    """
    import h5py

    shapes = []
    groups: list[h5py.Group] = [file]
    seen = set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{path} holds a link to something else ({name}); it is not read.")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_stored(item, path)
                shapes.append(item.shape)
    return shapes


def _check_stored(item: h5py.Dataset, path: str | Path) -> None:
    if item.external or item.is_virtual:
        raise ValueError(f"{path} keeps {item.name} in another file; it is not read.")
    stored = item.id.get_storage_size()
    if item.nbytes > max(ALWAYS_ALLOWED_BYTES, MAX_EXPANSION * stored):
        raise ValueError(
            f"{path} is damaged: {item.name} would take {item.nbytes} B and only {stored} B are "
            "stored."
        )
