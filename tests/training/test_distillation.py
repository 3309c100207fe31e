import numpy as np
import pytest

from keras_rdanet.config import RunConfig
from keras_rdanet.models import registry
from keras_rdanet.training.build import build_model
from keras_rdanet.training.distillation import init_student
from keras_rdanet.weights.store import save_weights

SMALL = {"filters": (4, 6), "state": 4, "reduction": 2, "num_convs": 1}


def network(encoder_blocks, decoder_blocks=1, **changes):
    blocks = {"encoder_blocks": encoder_blocks, "decoder_blocks": decoder_blocks}
    return registry.build("danet_s_gray", **{**SMALL, **blocks, **changes})


@pytest.fixture(scope="module")
def teacher():
    return network(encoder_blocks=2)


def values(model):
    return {variable.path: np.array(variable) for variable in model.variables}


def test_exactly_the_decoder_comes_from_the_teacher(teacher):
    student = network(encoder_blocks=1)
    before = values(student)
    for variable in student.variables:  # nothing is equal by chance
        variable.assign(variable + 1.0)
    init_student(student, teacher)
    after, taught = values(student), values(teacher)
    layers = set()
    for path, value in after.items():
        if path.startswith(("mid_", "up0/", "dec0_", "tail/")):
            layers.add(path.split("/")[0])
            np.testing.assert_array_equal(value, taught[path])
        else:
            np.testing.assert_array_equal(value, before[path] + 1.0)
    assert layers == {"mid_adeb0", "mid_arob", "up0", "dec0_adeb0", "dec0_arob", "tail"}


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"decoder_blocks": 2}, "dec0_adeb1/.*in the teacher it is not there"),
        ({"filters": (4, 8)}, r"in the teacher it is of shape \(3, 3, "),
    ],
)
def test_another_decoder_is_refused_and_changes_nothing(teacher, student, message):
    student = network(encoder_blocks=1, **student)
    before = values(student)
    with pytest.raises(ValueError, match=message):
        init_student(student, teacher)
    for path, value in values(student).items():
        np.testing.assert_array_equal(value, before[path])


def test_unknown_part_is_refused(teacher):
    with pytest.raises(ValueError, match="no layer whose name begins with 'neck'"):
        init_student(network(encoder_blocks=1), teacher, ["neck"])


def test_a_run_starts_from_the_file_of_its_teacher(teacher, tmp_path):
    blocks = {"encoder_blocks": 2, "decoder_blocks": 1}
    metadata = {"preset": "danet_s_gray", "overrides": {**SMALL, **blocks}, "task": "jpeg"}
    save_weights(teacher, tmp_path / "teacher.safetensors", metadata=metadata)
    config = RunConfig.model_validate(
        {
            "model": {
                "preset": "danet_s_gray",
                "overrides": {**SMALL, **blocks, "encoder_blocks": 1},
                "teacher": str(tmp_path / "teacher.safetensors"),
            },
            "data": {"train": "a", "phases": [{"steps": 1, "patch_size": 4, "batch_size": 1}]},
            "degradation": {"name": "jpeg", "quality": 10},
            "schedule": {"name": "cosine", "peak": 1e-3},
            "checkpoint_steps": 1,
        }
    )
    student, taught = values(build_model(config)), values(teacher)
    np.testing.assert_array_equal(student["tail/kernel"], taught["tail/kernel"])
    assert not np.array_equal(student["head/kernel"], taught["head/kernel"])
