import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from keras_rdanet.cli.data import data
from keras_rdanet.data.packed import packed


@pytest.fixture
def images(tmp_path):
    for name, value in (("noisy/a", 10), ("noisy/b", 20), ("clean/a", 11), ("clean/b", 21)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        image = np.random.default_rng(value).integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(path), image)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


def test_check_prints_a_table_and_exits_with_0(images):
    result = run("check", images / "clean", "--min-size", 40)
    assert result.exit_code == 0
    assert "images            2\nwidth x height    40x40 (2)\n" in result.stdout


def test_check_lists_errors_and_exits_with_1(images):
    result = run("check", images / "clean", "--against", images)
    assert result.exit_code == 1
    assert f"error: {images / 'clean' / 'a.png'} is " in result.stderr


def test_a_long_list_of_errors_is_cut(images):
    for number in range(12):
        (images / "clean" / f"{number:02}.png").write_bytes(b"")
    result = run("check", images / "clean")
    assert result.stderr.count("empty file") == 10
    assert "error: and 2 more" in result.stderr


def test_pack_makes_a_set_that_check_takes(images):
    result = run("pack", images / "clean", images / "set", "--tile", 32, "--overlap", 8)
    assert result.exit_code == 0
    assert "8 tiles of 2 images, 0.0 MB" in result.stdout
    assert run("check", images / "set").exit_code == 0


def test_pack_keeps_the_sides_of_pairs(images):
    result = run("pack", "--pairs", images / "noisy", images / "clean", images / "set")
    assert result.exit_code == 0
    degraded, target = packed(images / "set").read(0)
    for image, side in ((degraded, "noisy"), (target, "clean")):
        np.testing.assert_array_equal(image[..., ::-1], cv2.imread(str(images / side / "a.png")))


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["check", "{0}", "--pairs", "{0}", "{0}"],
        ["check", "{0}/missing"],
        ["pack", "{0}"],
        ["pack", "{0}", "{0}/a", "{0}/b"],
    ],
)
def test_wrong_usage_exits_with_2(images, arguments):
    assert run(*(argument.format(images) for argument in arguments)).exit_code == 2


def test_check_and_pack_take_public_layouts(images):
    for side, word in (("noisy", "NOISY"), ("clean", "GT")):
        for file in (images / side).iterdir():
            file.rename(images / f"{file.stem}_{word}_SRGB_010.png")
    assert "images            2\n" in run("check", images, "--layout", "sidd").stdout
    result = run("pack", images, images / "set", "--layout", "sidd")
    assert "2 tiles of 2 pairs" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "--split belongs to --layout"),
        (["--scale", 2], "--scale needs --pairs or --layout"),
        (["--layout", "fog"], "is not one of 'sidd'"),
    ],
)
def test_options_of_pairs_need_pairs(images, arguments, message):
    result = run("check", images / "clean", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
