import h5py
import numpy as np
import pytest

from keras_rdanet.hdf5 import contained


def check(path):
    with h5py.File(path) as file:
        contained(file, path)


def external_link(file):
    file["a/link"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["a/link"] = h5py.SoftLink("/a")


def external_storage(file):
    file.create_dataset("a/x", (8,), np.uint8, external=[("/etc/passwd", 0, 8)])


def virtual(file):
    layout = h5py.VirtualLayout((8,), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "x", (8,))
    file.create_virtual_dataset("a/x", layout)


def unstored(file):
    file.create_dataset("a/x", (10**6, 10**6), np.float32)


def empty_chunks(file):
    file.create_dataset("a/x", (10**5, 10**5), np.float32, chunks=(100, 100), compression="gzip")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (external_link, "link to something else"),
        (soft_link, "link to something else"),
        (external_storage, "in another file"),
        (virtual, "in another file"),
        (unstored, "would take 4000000000000 B"),
        (empty_chunks, "would take 40000000000 B"),
    ],
)
def test_files_that_lead_elsewhere_or_claim_too_much_are_refused(tmp_path, write, reason):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        write(file)
    with pytest.raises(ValueError, match=rf"file\.h5 .*{reason}"):
        check(tmp_path / "file.h5")


def test_groups_in_a_circle_are_looked_at_once(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["a/b/x"] = np.arange(9)
        file["a/b/again"] = file["a"]
        file.create_dataset("a/packed", data=np.tile(np.arange(99.0), (99, 9)), compression="gzip")
    check(tmp_path / "file.h5")
