import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from keras_rdanet.image.io import Picture, read_picture, write_picture
from keras_rdanet.inference.file import FileOptions
from keras_rdanet.inference.folder import find_pictures, restore_folder
from keras_rdanet.inference.journal import REPORT
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.ownership import owned_name
from tests.inference.functions import blurring, identity
from tests.inference.functions import random_samples as samples

ROOT = Path(__file__).parents[2]


def blurrer():
    return Restorer(blurring(channels=3, times=1))


@pytest.fixture
def folder(tmp_path):
    """Three pictures of different kinds, one in a sub-folder."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    write_picture(source / "a.png", Picture(samples(20, 30, 3)))
    write_picture(source / "b.tif", Picture(samples(9, 7, 1, np.uint16)))
    write_picture(source / "sub" / "ç 猫.png", Picture(samples(5, 6, 3), samples(5, 6, 1)[..., 0]))
    return source


def report(target):
    lines = (target / REPORT).read_text().splitlines()
    records = {record["file"]: record for record in map(json.loads, lines)}
    assert len(records) == len(lines), "a file has several lines"
    return records


def statuses(target):
    return {name: record["status"] for name, record in report(target).items()}


def contents(target):
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and path.name != REPORT
    }


# --- folders


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_folder_comes_back_with_its_names_and_sub_folders(folder, tmp_path, jobs):
    target = tmp_path / "new" / "out"
    restore_folder(blurrer(), folder, target, recursive=True, jobs=jobs)
    assert statuses(target) == {"a.png": "ok", "b.tif": "ok", "sub/ç 猫.png": "ok"}
    for name in report(target):
        before, after = read_picture(folder / name), read_picture(target / name)
        expected = blurrer().picture(before)
        np.testing.assert_array_equal(after.samples, expected.samples)
        assert (after.alpha is None) == (before.alpha is None)


def test_one_bad_file_never_stops_the_job(folder, tmp_path):
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.webp").write_text("not a picture")
    write_picture(folder / "gray16.png", Picture(samples(8, 8, 1, np.uint16)))
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    (folder / "Thumbs.db").touch()
    (folder / ".git").mkdir()
    target = tmp_path / "out"
    new = restore_folder(blurrer(), folder, target)
    assert statuses(target) == {
        "a.png": "ok",
        "b.tif": "ok",
        "gray16.png": "ok",
        "cut.png": "failed",
        "empty.jpg": "failed",
        "text.webp": "failed",
        "notes.txt": "skipped",
        ".hidden.png": "skipped",
        "Thumbs.db": "skipped",
        ".git/": "skipped",
        "sub/": "skipped",
    }
    assert {record["file"]: record["status"] for record in new} == statuses(target)
    records = report(target)
    assert "empty file" in records["empty.jpg"]["reason"]
    assert ".txt" not in records["notes.txt"]["reason"]
    assert ".png" in records["notes.txt"]["reason"]
    assert "--recursive" in records["sub/"]["reason"]
    assert set(contents(target)) == {"a.png", "b.tif", "gray16.png"}
    assert (records["a.png"]["height"], records["a.png"]["width"]) == (20, 30)


def test_a_colour_picture_fails_alone_with_a_gray_network(folder, tmp_path):
    restore_folder(Restorer(identity(1)), folder, tmp_path / "out")
    assert statuses(tmp_path / "out") == {"a.png": "failed", "b.tif": "ok", "sub/": "skipped"}


def test_unexpected_errors_are_in_the_report_too(folder, tmp_path):
    def crash(images):
        raise RuntimeError

    restorer = Restorer(dataclasses.replace(identity(3), function=crash))
    restore_folder(restorer, folder, tmp_path / "out")
    assert report(tmp_path / "out")["a.png"]["reason"] == "RuntimeError"


def test_a_target_inside_the_source_is_left_out(folder):
    target = folder / "out"
    for _ in range(2):
        restore_folder(blurrer(), folder, target, recursive=True)
        assert set(contents(target)) == {"a.png", "b.tif", "sub/ç 猫.png"}


def test_the_pictures_of_the_source_are_never_overwritten(folder, tmp_path):
    before = contents(folder)
    with pytest.raises(ValueError, match=r"a\.png would be overwritten"):
        restore_folder(blurrer(), folder, folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(ValueError, match=r"a\.png would be overwritten"):
        restore_folder(blurrer(), folder, link)
    assert contents(folder) == before


def test_two_results_in_one_file_are_refused(folder, tmp_path):
    write_picture(folder / "c.png", Picture(samples(4, 4, 3)))
    target = tmp_path / "out"
    target.mkdir()
    (target / "c.png").symlink_to(target / "a.png")
    with pytest.raises(ValueError, match=r"a\.png and c\.png would both be written"):
        restore_folder(blurrer(), folder, target)


def test_a_file_cannot_take_a_folder(folder, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match="out is a file; the pictures of a folder go to a folder"):
        find_pictures(folder, tmp_path / "out")


def test_a_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"no picture .* in .*--recursive"):
        find_pictures(tmp_path / "in", tmp_path / "out")


@pytest.mark.timeout(20)
def test_what_is_no_file_fails_alone(folder, tmp_path):
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("missing")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.png"))
        restore_folder(blurrer(), folder, tmp_path / "out")
    found = report(tmp_path / "out")
    for name in ("pipe.png", "zero.png", "socket.png"):
        assert found[name]["reason"].endswith(f"{name} is not a regular file.")
    for name in ("loop.png", "gone.png"):
        assert found[name]["status"] == "failed"
        assert name in found[name]["reason"]
    assert [found[name]["status"] for name in ("a.png", "b.tif")] == ["ok", "ok"]


def test_the_reason_of_a_failure_is_one_line(folder, tmp_path):
    (folder / "a\nb.png").touch()
    restore_folder(blurrer(), folder, tmp_path / "out")
    assert r"a\nb.png: empty file" in report(tmp_path / "out")["a\nb.png"]["reason"]


def test_links_to_folders_are_not_followed(folder, tmp_path):
    (folder / "loop").symlink_to(folder)
    names, skipped = find_pictures(folder, tmp_path / "out", recursive=True)
    assert names == ["a.png", "b.tif", "sub/ç 猫.png"]
    assert [record["file"] for record in skipped] == ["loop/"]


# --- resuming


def counting(calls):
    def function(images):
        calls.append(images.shape)
        return images

    return dataclasses.replace(identity(3), function=function)


def test_resume_does_nothing_twice_and_leaves_everything_as_it_is(folder, tmp_path):
    target, calls = tmp_path / "out", []
    restore_folder(Restorer(counting(calls)), folder, target, recursive=True)
    assert len(calls) == 3
    before = contents(target), (target / REPORT).read_bytes()
    new = restore_folder(Restorer(counting(calls)), folder, target, recursive=True, resume=True)
    assert {record["file"]: record["status"] for record in new} == dict.fromkeys(
        ("a.png", "b.tif", "sub/ç 猫.png"), "done"
    )
    assert len(calls) == 3
    assert (contents(target), (target / REPORT).read_bytes()) == before


def test_without_resume_everything_is_done_again(folder, tmp_path):
    target, calls = tmp_path / "out", []
    for _ in range(2):
        restore_folder(Restorer(counting(calls)), folder, target)
    assert len(calls) == 4


def test_resume_does_again_what_changed_failed_or_vanished(folder, tmp_path):
    target, calls = tmp_path / "out", []
    (folder / "c.png").touch()
    restore_folder(Restorer(counting(calls)), folder, target, recursive=True)
    write_picture(folder / "a.png", Picture(samples(11, 11, 3)))
    (target / "b.tif").unlink()
    write_picture(folder / "c.png", Picture(samples(13, 13, 3)))
    calls.clear()
    restore_folder(Restorer(counting(calls)), folder, target, recursive=True, resume=True)
    assert sorted(shape[1:3] for shape in calls) == [(9, 7), (11, 11), (13, 13)]
    assert set(statuses(target).values()) == {"ok"}


@pytest.mark.parametrize(
    ("restoring", "file"),
    [
        ({"strength": 0.5}, {}),
        ({"self_ensemble": True}, {}),
        ({"tile": 64}, {}),
        ({}, {"strip_metadata": True}),
        ({}, {"add_noise": 5.0}),
    ],
)
def test_resume_with_other_options_does_everything_again(folder, tmp_path, restoring, file):
    target = tmp_path / "out"
    restore_folder(Restorer(identity(3)), folder, target)
    restorer = Restorer(identity(3), **restoring)
    new = restore_folder(restorer, folder, target, FileOptions(**file), resume=True)
    assert sorted(record["file"] for record in new if record["status"] == "ok") == [
        "a.png",
        "b.tif",
    ]


def slow_job(source, target):
    """A process that restores a folder, 0.15 s a tile of 32 pixels."""
    script = f"""
import dataclasses, time
from pathlib import Path
from keras_rdanet.inference.folder import restore_folder
from keras_rdanet.inference.restorer import Restorer
from keras_rdanet.ownership import owned_name
from tests.inference.functions import blurring
function = blurring()
def slow(images):
    time.sleep(0.15)
    return function(images)
restorer = Restorer(dataclasses.replace(function, function=slow), tile=32)
try:
    restore_folder(restorer, Path({str(source)!r}), Path({str(target)!r}), jobs=2)
except OSError as error:
    raise SystemExit(str(error))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # Tests in the background of a script inherit that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def six(tmp_path):
    """Six small pictures and where their results go."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i in range(6):
        write_picture(source / f"{i}.png", Picture(samples(16, 16, 1, seed=i)))
    return source, target


def test_a_killed_job_resumes_to_the_same_set(six, tmp_path):
    source, target = six
    with slow_job(source, target) as process:
        wait_until(lambda: len(list(target.glob("[0-9].png"))) >= 2)
        os.kill(process.pid, signal.SIGKILL)
    done = statuses(target)
    assert 1 <= len(done) < 6
    # What a process killed while it writes leaves behind.
    with open(target / REPORT, "a") as file:
        file.write('{"file": "5.png", "sta')
    name = owned_name("part.png").replace(f".{os.getpid()}.", f".{process.pid}.")
    (target / name).touch()
    times = {name: (target / name).stat().st_mtime_ns for name in done}

    restore_folder(Restorer(blurring(), tile=32), source, target, resume=True)
    assert set(statuses(target).items()) == {(f"{i}.png", "ok") for i in range(6)}
    assert {name: (target / name).stat().st_mtime_ns for name in done} == times
    restore_folder(Restorer(blurring(), tile=32), source, tmp_path / "again")
    assert contents(target) == contents(tmp_path / "again")


def test_a_second_job_on_a_folder_is_refused_and_harms_nothing(six):
    source, target = six
    with slow_job(source, target) as process:
        wait_until(lambda: list(target.glob("[0-9].png")))
        with pytest.raises(OSError, match=rf"out is in use .*host .*process {process.pid}\b"):
            restore_folder(Restorer(blurring()), source, target, resume=True)
        assert process.wait() == 0, process.stderr.read()
    assert statuses(target) == {f"{i}.png": "ok" for i in range(6)}
    assert set(contents(target)) == {f"{i}.png" for i in range(6)}


@pytest.mark.parametrize("side", [16, 640])  # many small pictures, or one of many tiles
def test_an_interrupted_job_ends_soon_and_leaves_nothing_half_done(six, side):
    source, target = six
    write_picture(source / "0.png", Picture(samples(side, side, 1)))
    with slow_job(source, target) as process:
        wait_until(lambda: (target / REPORT).exists() and statuses(target))
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait()
        assert time.monotonic() - start < 2
        assert "KeyboardInterrupt" in process.stderr.read()
    assert set(contents(target)) == set(statuses(target))
    assert len(statuses(target)) < 6


def test_lines_are_there_while_the_job_runs(folder, tmp_path):
    target, seen = tmp_path / "out", []

    def look(record):
        seen.append((record["file"], statuses(target)[record["file"]]))

    restore_folder(blurrer(), folder, target, on_record=look)
    assert seen == [("sub/", "skipped"), ("a.png", "ok"), ("b.tif", "ok")]


def test_jobs_read_while_the_network_works(folder, tmp_path):
    reading = threading.Barrier(2, timeout=10)

    class Slow(Restorer):
        def picture(self, *arguments, **options):
            reading.wait()
            return super().picture(*arguments, **options)

    restore_folder(Slow(identity(3)), folder, tmp_path / "out", jobs=2)
    assert statuses(tmp_path / "out")["b.tif"] == "ok"
