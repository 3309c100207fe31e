import dataclasses

import pytest

from keras_rdanet.cli import evaluate as command
from keras_rdanet.data import sources
from keras_rdanet.evaluation import tasks
from keras_rdanet.inference.image_function import ImageFunction
from keras_rdanet.weights.origin import Origin

FUNCTION = ImageFunction(lambda images: images, channels=3, name="any")


def test_the_command_offers_every_task_and_public_set():
    assert set(command.TASKS) == set(tasks.TASKS)
    assert set(tasks.LAYOUTS) == set(sources.LAYOUTS)
    assert set(tasks.LAYOUTS.values()) <= set(tasks.TASKS)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_has_protocols_that_describe_themselves(task):
    scale = 3 if task == "bicubic" else 1
    for channels in (1, 3):
        for protocol in tasks.clean_protocols(task, scale):
            assert protocol.describe(channels)["name"] == protocol.name
            assert (protocol.scale, protocol.paired) == (scale, False)
        pairs = tasks.pair_protocol(task, scale)
        assert pairs.describe(channels)["name"] == pairs.name
        assert (pairs.scale, pairs.paired) == (scale, True)


def test_levels_are_the_usual_ones_or_those_given():
    assert [p.sigma for p in tasks.clean_protocols("gaussian_noise")] == [15, 25, 50]
    assert [p.sigma for p in tasks.clean_protocols("gaussian_noise", sigmas=[7])] == [7]
    assert [p.quality for p in tasks.clean_protocols("jpeg")] == [10, 20, 30, 40]
    assert [p.quality for p in tasks.clean_protocols("jpeg", qualities=[5, 6])] == [5, 6]


def test_what_is_scored_follows_the_field():
    (rain,) = tasks.clean_protocols("rain_streaks")
    assert rain.scoring == tasks.pair_protocol("rain_streaks").scoring
    assert rain.scoring.luma == "rounded"
    assert tasks.pair_protocol("motion_blur").scoring.luma == "no"
    assert tasks.pair_protocol("bayer_mosaic").cells
    scoring = tasks.pair_protocol("bicubic", 4).scoring
    assert (scoring.luma, scoring.crop_border) == ("exact", 4)
    real = tasks.pair_protocol("bicubic", 1, crop_border=3)  # RealSR: pairs of one size
    assert (real.scale, real.scoring.crop_border) == (1, 3)


def test_super_resolution_needs_a_network_that_enlarges():
    with pytest.raises(ValueError, match="needs a network that enlarges"):
        tasks.clean_protocols("bicubic")


def test_functions_say_what_they_were_trained_for():
    assert tasks.task_of(dataclasses.replace(FUNCTION, scale=2)) == "bicubic"
    assert tasks.task_of(FUNCTION) is None
    for identifier, task in (("rain", "rain_streaks"), ("jpeg", "jpeg"), (None, None)):
        function = dataclasses.replace(FUNCTION, origin=Origin("any", task=identifier))
        assert tasks.task_of(function) == task
