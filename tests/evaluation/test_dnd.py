import h5py
import numpy as np
import pytest
import scipy.io

from keras_rdanet.evaluation.dnd import read_boxes, write_submission

BOXES = [[[1, 1, 4, 3], [3, 2, 8, 9]], [[2, 5, 6, 9], [1, 1, 8, 9]]]  # 2 crops in 2 images


@pytest.fixture
def dnd(tmp_path):
    """A small data set in the files that MATLAB's version 7.3 writes, and its images."""
    folder = tmp_path / "dnd"
    (folder / "images_srgb").mkdir(parents=True)
    images = np.random.default_rng(0).random((2, 8, 9, 3)).astype(np.float32)
    with h5py.File(folder / "info.mat", "w") as file:
        references = file.create_dataset("info/boundingboxes", (1, 2), h5py.ref_dtype)
        for index, boxes in enumerate(BOXES):
            stored = file.create_dataset(f"#refs#/{index}", data=np.array(boxes, float).T)
            references[0, index] = stored.ref
    for index, image in enumerate(images, start=1):
        with h5py.File(folder / "images_srgb" / f"{index:04}.mat", "w") as file:
            file["InoisySRGB"] = image.T
    return folder, images


def test_every_image_becomes_a_file_of_its_crops(dnd, tmp_path):
    folder, images = dnd
    seen = []

    def double(crop):
        seen.append(crop)
        return 2 * crop

    written = write_submission(double, folder, tmp_path / "out")
    assert [path.name for path in written] == ["0001.mat", "0002.mat"]
    first = images[0][2:8, 1:9]  # box (3, 2, 8, 9), from 1 and inclusive
    np.testing.assert_array_equal(seen[1], first)
    assert seen[1].dtype == np.float32
    stored = scipy.io.loadmat(tmp_path / "out" / "0001.mat")
    cells = stored["Idenoised"].ravel()
    assert [cell.shape for cell in cells] == [(4, 3, 3), (6, 8, 3)]
    assert cells[1].dtype == np.float32
    np.testing.assert_array_equal(cells[1], np.clip(2 * first, 0, 1))
    assert stored["israw"].item() == 0
    assert stored["eval_version"].item() == "1.0"


def test_boxes_are_whole_numbers_from_1(dnd):
    assert [boxes.tolist() for boxes in read_boxes(dnd[0] / "info.mat")] == BOXES


def test_what_is_not_dnd_is_one_clear_error(dnd, tmp_path):
    folder, _ = dnd
    with pytest.raises(FileNotFoundError, match=r"info\.mat"):
        write_submission(np.copy, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file"):
        write_submission(np.copy, folder, tmp_path / "file")
    with h5py.File(folder / "images_srgb" / "0001.mat", "w") as file:
        file["InoisySRGB"] = np.zeros((3, 5, 5), np.float32)
    with pytest.raises(ValueError, match=r"0001.mat is too small for the crops"):
        write_submission(np.copy, folder, tmp_path / "out")
    with h5py.File(folder / "images_srgb" / "0001.mat", "w") as file:
        file["Inoisy"] = np.zeros((5, 5), np.float32)
    with pytest.raises(ValueError, match="has no InoisySRGB"):
        write_submission(np.copy, folder, tmp_path / "out")
    (folder / "info.mat").write_text("text")
    with pytest.raises(
        ValueError, match=r"info.mat is damaged or not a MATLAB file of version 7.3"
    ):
        write_submission(np.copy, folder, tmp_path / "out")
    with h5py.File(folder / "info.mat", "w") as file:
        file["info"] = np.zeros(3)
    with pytest.raises(ValueError, match="has no info/boundingboxes"):
        write_submission(np.copy, folder, tmp_path / "out")


def test_an_image_that_is_stored_in_another_file_is_not_read(dnd, tmp_path):
    folder, _ = dnd
    with h5py.File(folder / "images_srgb" / "0001.mat", "w") as file:
        storage = [(str(folder / "info.mat"), 0, 3 * 9 * 8)]
        file.create_dataset("InoisySRGB", (3, 9, 8), np.uint8, external=storage)
    with pytest.raises(ValueError, match=r"0001\.mat keeps /InoisySRGB in another file"):
        write_submission(np.copy, folder, tmp_path / "out")
