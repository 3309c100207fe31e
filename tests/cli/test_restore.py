import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from PIL import Image, ImageCms

from keras_rdanet.cli import main as command
from keras_rdanet.image.io import Metadata, Picture, read_picture, write_picture
from keras_rdanet.inference import open as opening
from tests.inference.functions import blurring, identity


def load(path, precision):
    """A model file of these tests: its text says which function."""
    return {"blur": blurring(3), "gray": blurring(1), "same": identity(3)}[Path(path).read_text()]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """`keras-rdanet restore ARGUMENTS` in `tmp_path`: exit status, stdout, lines of stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(opening.OPENERS, ".fn", load)
    for name in ("blur", "gray", "same"):
        Path(f"{name}.fn").write_text(name)

    def run(*arguments, model="blur"):
        chosen = ["--model", f"{model}.fn"] if model else []
        line = ["keras-rdanet", "restore", *map(str, arguments), *chosen]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as done:
            command.main()
        out, err = capfd.readouterr()
        return done.value.code or 0, out, err.splitlines()

    return run


def save(path, height=40, width=30, channels=3, dtype=np.uint8, alpha=False, **metadata):
    values = np.random.default_rng(0).integers(
        1, np.iinfo(dtype).max, (height, width, channels + 1)
    )
    samples = values.astype(dtype)
    picture = Picture(
        samples[..., :channels].copy(),
        samples[..., channels].copy() if alpha else None,
        Metadata(**metadata),
    )
    write_picture(path, picture)
    return picture


def test_a_picture_is_restored(run):
    picture = save("in.png")
    code, out, err = run("in.png", "out.png")
    assert (code, err) == (0, [])
    assert "out.png: 30 x 40 pixels, blur in float32" in out
    expected = blurring(3)(picture.samples[None] / np.float32(255))[0] * 255
    np.testing.assert_allclose(read_picture("out.png").samples, expected, atol=0.51)


@pytest.mark.parametrize("name", ["in.png", "ünï 写真.tif", "in.webp"])
def test_depth_alpha_and_profile_stay(run, name):
    dtype = np.uint8 if name.endswith("webp") else np.uint16
    picture = save(name, dtype=dtype, alpha=True)
    assert run(name, f"out-{name}", model="same")[0] == 0
    restored = read_picture(f"out-{name}")
    np.testing.assert_array_equal(restored.samples, picture.samples)
    np.testing.assert_array_equal(restored.alpha, picture.alpha)


def test_strength_0_changes_no_sample(run):
    picture = save("in.png")
    assert run("in.png", "out.png", "--strength", 0)[0] == 0
    np.testing.assert_array_equal(read_picture("out.png").samples, picture.samples)


def test_strength_and_tiles_and_self_ensemble_are_passed_on(run):
    picture = save("in.png", height=100)
    run("in.png", "half.png", "--strength", 0.5)
    run("in.png", "full.png", "--tile", 32)
    run("in.png", "x8.png", "--self-ensemble")
    half, full, x8 = (
        read_picture(f"{name}.png").samples.astype(float) for name in ("half", "full", "x8")
    )
    np.testing.assert_allclose(half, (full + picture.samples) / 2, atol=1.01)
    assert np.abs(x8 - full).max() > 5


def test_noise_is_estimated_and_added_on_request(run):
    write_picture("in.png", Picture(np.full((99, 99, 3), 128, np.uint8)))
    code, out, _ = run("in.png", "a.png", "--add-noise", 25, "--sigma-estimate", model="same")
    assert code == 0
    sigma = float(out.split("sigma ")[1].split()[0])
    assert sigma == pytest.approx(25, rel=0.1)
    run("in.png", "b.png", "--add-noise", 25, model="same")
    run("in.png", "c.png", "--add-noise", 25, "--seed", 1, model="same")
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_a_mosaic_comes_back_in_colour(run):
    picture = save("in.png", channels=1)
    code, _, err = run("in.png", "out.png", "--mosaic", "bggr", model="same")
    assert (code, err) == (0, [])
    restored = read_picture("out.png").samples
    np.testing.assert_array_equal(restored[::2, ::2, 2], picture.samples[::2, ::2, 0])
    np.testing.assert_array_equal(restored[1::2, 1::2, 0], picture.samples[1::2, 1::2, 0])
    np.testing.assert_array_equal(restored.sum(axis=-1), picture.samples[..., 0])


def test_compare_writes_the_split_picture(run):
    save("in.png")
    assert run("in.png", "out.png", "--compare", "split.png")[0] == 0
    assert read_picture("split.png").samples.shape == (40, 30, 3)


def test_metadata_can_be_stripped(run):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save("in.png", icc=profile)
    run("in.png", "kept.png")
    run("in.png", "stripped.png", "--strip-metadata")
    assert read_picture("kept.png").metadata.icc == profile
    assert read_picture("stripped.png").metadata.icc is None


def test_a_folder_as_target_takes_the_name(run):
    save("in.png")
    os.mkdir("results")
    assert run("in.png", "results")[0] == 0
    assert read_picture("results/in.png").samples.shape == (40, 30, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png", "out.png"), "missing.png: no such file"),
        (("empty.png", "out.png"), "empty.png: empty file"),
        (("text.png", "out.png"), "text.png: not a picture"),
        (("cut.png", "out.png"), "cut.png: cut short"),
        (("in.png", "out.txt"), "out.txt: the suffix names no known format"),
        (("in.png", "missing/out.png"), "there is no folder missing"),
        (("in.png", "in.png"), "must be different files"),
        (("alpha.png", "out.jpg"), "JPEG cannot hold the alpha"),
        (("deep.png", "out.jpg"), "JPEG cannot hold uint16"),
        (("in.png", "out.png", "--max-pixels", 1199), "1200 pixels are more than the limit"),
        (("nan.tif", "out.tif"), "NaN"),
    ],
)
def test_bad_files_are_one_line_and_nothing_is_written(run, arguments, message):
    save("in.png")
    save("alpha.png", alpha=True)
    save("deep.png", dtype=np.uint16)
    Path("empty.png").touch()
    Path("text.png").write_text("not a picture")
    Path("cut.png").write_bytes(Path("in.png").read_bytes()[:900])
    tifffile.imwrite("nan.tif", np.full((8, 8), np.nan, np.float32))
    before = {path: path.read_bytes() for path in Path().iterdir()}
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert len(err) == 1, err
    assert err[0].startswith("keras-rdanet: ")
    assert message in err[0]
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_colour_picture_and_a_gray_network_are_one_line(run):
    save("in.png")
    code, _, err = run("in.png", "out.png", model="gray")
    assert code == 1
    assert len(err) == 1
    assert "RGB" in err[0]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("in.png",),
        ("in.png", "out.png", "--strength", "2"),
        ("in.png", "out.png", "--tile", "5"),
        ("in.png", "out.png", "--tile", "whole"),
        ("in.png", "out.png", "--precision", "float64"),
        ("in.png", "out.png", "--add-noise", "-1"),
        ("in.png", "out.png", "--jobs", "0"),
        ("in.png", "out.png", "--overwrite-everything"),
        (".", "out", "--compare", "split.png"),
        ("in.png", "out.png", "--mosaic", "rgb"),
        ("in.png", "out.png", "--mosaic", "rggb", "--sigma-estimate"),
    ],
)
def test_bad_usage_exits_with_2(run, arguments):
    save("in.png")
    code, _, err = run(*arguments)
    assert code == 2
    assert err[-1].startswith("Error: ")
    assert not Path("out.png").exists()


def test_a_folder_with_a_bad_file_exits_with_1_and_without_with_0(run):
    os.makedirs("in/sub")
    save("in/a.png")
    save("in/sub/b.tif", channels=1)
    Path("in/c.jpg").touch()
    code, out, err = run("in", "out", "--recursive")
    assert code == 1
    assert out.startswith("2 ok, 1 failed, 0 skipped; see out")
    assert err == ["keras-rdanet: c.jpg: in/c.jpg: empty file"]
    assert read_picture("out/sub/b.tif").samples.shape == (40, 30, 1)

    Path("in/c.jpg").unlink()
    save("in/c.png")
    code, out, err = run("in", "out", "--recursive", "--resume", "--jobs", 2, "--sigma-estimate")
    assert (code, err) == (0, [])
    assert out.startswith("c.png: estimated noise sigma")
    assert "2 done before, 1 ok, 0 failed" in out
    out = run("in", "out", "--recursive", "--resume", "--sigma-estimate")[1]
    assert out.startswith("3 done before, 0 ok, 0 failed, 0 skipped; see out")
    lines = Path("out/report.jsonl").read_text().splitlines()
    records = {record["file"]: record["status"] for record in map(json.loads, lines)}
    assert records == {"a.png": "ok", "c.png": "ok", "sub/b.tif": "ok"}


def test_an_empty_folder_is_one_line(run):
    os.mkdir("in")
    code, _, err = run("in", "out")
    assert code == 1
    assert len(err) == 1
    assert "no picture" in err[0]
    assert not Path("out").exists()


def test_a_mosaic_needs_a_model(run):
    save("in.png", channels=1)
    code, _, err = run("in.png", "out.png", "--mosaic", "rggb", model=None)
    assert code == 2
    assert "--mosaic needs a --model that demosaics" in err[-1]


def test_an_unknown_model_is_one_line(run):
    save("in.png")
    for model in ("no_such_network", "missing.safetensors"):
        code, _, err = run("in.png", "out.png", "--model", model, model=None)
        assert code == 1
        assert len(err) == 1
        assert model in err[0]


def command_in(folder, *arguments, **options):
    """The command in a process of its own, with a file that blurs slowly as `--model blur.fn`."""
    code = """
import dataclasses, sys, time
from keras_rdanet.cli import main
from keras_rdanet.inference import open as opening
from tests.inference.functions import blurring
blur = blurring(3)
def slow(images):
    open("started", "w").close()
    time.sleep(0.1)
    return blur(images)
opening.OPENERS[".fn"] = lambda path, precision: dataclasses.replace(blur, function=slow)
sys.argv[0] = "keras-rdanet"
main.main()
"""
    (folder / "blur.fn").touch()
    line = [sys.executable, "-c", code, "restore", *map(str, arguments), "--model", "blur.fn"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= options.pop("env", {})
    return subprocess.Popen(
        line,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests in the background of a script inherit that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_standard_input_and_output_take_the_place_of_files(tmp_path):
    save(tmp_path / "in.jpg")
    save(tmp_path / "in.png")
    expected = read_picture(tmp_path / "in.jpg")
    for name, format, start in (
        ("in.jpg", (), b"\xff\xd8\xff"),
        ("in.png", ("--format", "tif"), b"II*\0"),
        ("in.png", (), b"\x89PNG"),
    ):
        process = command_in(tmp_path, "-", "-", "--strength", 0, *format)
        out, err = process.communicate((tmp_path / name).read_bytes())
        assert process.returncode == 0, err
        assert out.startswith(start)
        assert b"30 x 40 pixels" in err
        (tmp_path / "out").write_bytes(out)
        restored = read_picture(tmp_path / "out")
        assert restored.samples.shape == expected.samples.shape


def test_what_is_wrong_with_standard_input_is_one_line(tmp_path):
    process = command_in(tmp_path, "-", "out.png")
    out, err = process.communicate(b"not a picture")
    assert (process.returncode, out) == (1, b"")
    assert b"standard input: not a picture" in err
    assert len(err.splitlines()) == 1
    process = command_in(tmp_path, "in.png", "out.png", "--format", "png")
    assert b"--format is for the standard output" in process.communicate()[1]
    assert process.returncode == 2


@pytest.mark.parametrize("folder", [True, False])
def test_an_interrupted_command_says_how_to_go_on(tmp_path, folder):
    os.mkdir(tmp_path / "in")
    for i in range(3):
        save(tmp_path / "in" / f"{i}.png", height=400, width=400)
    files = ("in", "out") if folder else ("in/0.png", "out.png")
    process = command_in(tmp_path, *files, "--tile", 32)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert time.monotonic() - start < 2
    assert (process.returncode, out) == (130, b"")
    said = err.decode().splitlines()[-1]
    assert said == "keras-rdanet: stopped; " + (
        "the same command with --resume goes on" if folder else "out.png is not written"
    )


def test_names_that_the_terminal_cannot_print_are_no_failure(tmp_path):
    name = "写真\n2.png"
    save(tmp_path / name)
    process = command_in(tmp_path, name, f"out {name}", env={"PYTHONIOENCODING": "latin-1"})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(rb"out \u5199\u771f\n2.png: 30 x 40 pixels")
    (tmp_path / name).write_bytes(b"text")
    process = command_in(tmp_path, name, f"out {name}", env={"PYTHONIOENCODING": "latin-1"})
    out, err = process.communicate()
    assert (process.returncode, len(err.splitlines())) == (1, 1)
    assert rb"\u5199\u771f\n2.png: not a picture" in err


def test_a_format_that_is_only_read_becomes_a_png(run):
    os.mkdir("in")
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save("in/a.gif")
    save("in/a.png")
    Path("in/notes.txt").touch()
    code, out, err = run("in", "out")
    assert (code, out.split(";")[0]) == (0, "2 ok, 0 failed, 1 skipped")
    assert len(err) == 1
    assert err[0].startswith("keras-rdanet: notes.txt: skipped, not one of .jpg")
    assert read_picture("out/a.gif.png").samples.shape[:2] == (6, 7)
    assert run("in", "out", "--resume")[1].startswith("2 done before, 0 ok")


@pytest.mark.slow
def test_a_real_network_in_a_fresh_process_says_nothing_on_stderr(tmp_path):
    from keras_rdanet.models import registry
    from keras_rdanet.weights import store

    model = registry.build("tsp_rdanet_tiny_rgb", filters=8)
    metadata = {"preset": "tsp_rdanet_tiny_rgb", "overrides": {"filters": 8}}
    store.save_weights(model, tmp_path / "mine.safetensors", metadata=metadata)
    picture = save(tmp_path / "in.tif", dtype=np.uint16)
    line = ["keras_rdanet", "restore", "in.tif", "out.tif", "--model", "mine.safetensors"]
    done = subprocess.run(
        [sys.executable, "-m", *line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.safetensors in float32" in done.stdout
    expected = model.image_function()(picture.samples[None] / np.float32(65535))[0]
    restored = read_picture(tmp_path / "out.tif").samples
    np.testing.assert_allclose(restored, np.clip(expected, 0, 1) * 65535, atol=2)


def test_a_model_file_that_can_do_more_than_compute_needs_trust(run, tmp_path):
    save("in.png", 8, 8, 1)
    node = onnx.helper.make_node("Exec", ["degraded"], ["restored"], domain="mine")
    graph = onnx.helper.make_graph([node], "graph", [], [])
    proto = onnx.helper.make_model(graph)
    Path("own.onnx").write_bytes(proto.SerializeToString())
    code, _, err = run("in.png", "out.png", "--model", "own.onnx", model=None)
    assert (code, len(err)) == (1, 1)
    assert "own.onnx is not opened, because it holds the operation mine.Exec" in err[0]
    assert "--trust-model" in err[0]
    code, _, err = run("in.png", "out.png", "--model", "own.onnx", "--trust-model", model=None)
    assert (code, len(err)) == (1, 1)  # now it is looked at by ONNX Runtime
    assert "own.onnx is damaged or not an ONNX file" in err[0]
    assert not Path("out.png").exists()
