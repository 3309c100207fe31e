import base64
import csv

import numpy as np
import pytest
import scipy.io

from keras_rdanet.evaluation.sidd import BlockPairs, read_blocks, write_submission


@pytest.fixture
def blocks(tmp_path):
    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3)).astype(np.uint8)
    scipy.io.savemat(tmp_path / "noisy.mat", {"BenchmarkNoisyBlocksSrgb": blocks})
    return blocks


def brighten(image):
    assert image.dtype == np.float32
    return image * np.float32(1.5) - np.float32(0.1)


def test_the_benchmark_takes_a_cell_array_of_single_blocks(blocks, tmp_path):
    write_submission(brighten, tmp_path / "noisy.mat", tmp_path / "SubmitSrgb.mat", method="ours")
    stored = scipy.io.loadmat(tmp_path / "SubmitSrgb.mat")
    cells = stored["DenoisedBlocksSrgb"]
    assert (cells.dtype, cells.shape) == (object, (2, 3))
    for place in np.ndindex(2, 3):
        assert cells[place].dtype == np.float32
        expected = np.clip(brighten(blocks[place] / np.float32(255)), 0, 1)
        np.testing.assert_array_equal(cells[place], expected)
    assert stored["TimeMPSrgb"].item() > 0
    assert stored["OptionalData"]["MethodName"].item().item() == "ours"


def test_the_competition_takes_blocks_in_base64(blocks, tmp_path):
    write_submission(brighten, tmp_path / "noisy.mat", tmp_path / "SubmitSrgb.csv", method="ours")
    with open(tmp_path / "SubmitSrgb.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ID"] for row in rows] == list("012345")
    for row, block in zip(rows, blocks.reshape(6, 4, 5, 3), strict=True):
        stored = np.frombuffer(base64.b64decode(row["BLOCK"]), np.uint8).reshape(4, 5, 3)
        expected = np.clip(block * 1.5 - 25.5, 0, 255)
        np.testing.assert_allclose(stored, expected, atol=0.501)


def test_nothing_is_written_when_restoring_fails(blocks, tmp_path):
    def fail(image):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_submission(fail, tmp_path / "noisy.mat", tmp_path / "out.mat", method="ours")
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.mat"]


def test_other_suffixes_and_folders_fail_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"out.png must end in .mat or .csv"):
        write_submission(brighten, tmp_path / "missing.mat", tmp_path / "out.png", method="ours")
    with pytest.raises(OSError, match="there is no folder"):
        write_submission(brighten, tmp_path / "missing.mat", tmp_path / "a/b.mat", method="ours")


def test_validation_blocks_are_pairs(blocks, tmp_path):
    scipy.io.savemat(tmp_path / "gt.mat", {"ValidationGtBlocksSrgb": 255 - blocks})
    source = BlockPairs(tmp_path / "noisy.mat", tmp_path / "gt.mat")
    assert (len(source), source.name(4)) == (6, "0002_02")
    noisy, clean = source.read(4)
    np.testing.assert_array_equal(noisy, blocks[1, 1])
    np.testing.assert_array_equal(clean, 255 - blocks[1, 1])
    assert [(h.height, h.width, h.channels) for h in source.headers(0)] == [(4, 5, 3)] * 2
    scipy.io.savemat(tmp_path / "few.mat", {"ValidationGtBlocksSrgb": blocks[:1]})
    with pytest.raises(ValueError, match="not of one set"):
        len(BlockPairs(tmp_path / "noisy.mat", tmp_path / "few.mat"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.mat").write_text("no MATLAB file, but long enough to look for a header" * 9)
    with pytest.raises(ValueError, match=r"text.mat is not a MATLAB file"):
        read_blocks(tmp_path / "text.mat")
    for name, array in (("floats", np.zeros((1, 2, 4, 4, 3))), ("flat", np.zeros((4, 4, 3)))):
        scipy.io.savemat(tmp_path / f"{name}.mat", {"x": array})
        with pytest.raises(ValueError, match=f"{name}.mat has no array of blocks"):
            read_blocks(tmp_path / f"{name}.mat")
    with pytest.raises(OSError, match="No such file"):
        read_blocks(tmp_path / "missing.mat")
