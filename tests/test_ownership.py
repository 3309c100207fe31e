import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_rdanet import ownership
from keras_rdanet.files import replacing, replacing_folder
from keras_rdanet.ownership import locked, owned_name, remove_leftovers

ROOT = Path(__file__).parents[1]


def start(code):
    """A Python process that has run `code` and now waits to be killed."""
    waiting = "\nprint('ready', flush=True)\nimport time\ntime.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code + waiting], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def writer(folder):
    return start(f"""
from pathlib import Path
from keras_rdanet.files import replacing, replacing_folder
(Path({str(folder)!r}) / "sub").mkdir(exist_ok=True)
file = replacing({str(folder / "sub" / "a.png")!r})
file.__enter__().write_text("half")
made = replacing_folder({str(folder / "model")!r})
(made.__enter__() / "b.txt").write_text("half")
""")


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_is_not(tmp_path):
    (tmp_path / ".hidden.png").touch()
    running, killed = writer(tmp_path), writer(tmp_path)
    kill(killed)
    try:
        assert len(names(tmp_path)) == 8
        remove_leftovers(tmp_path, recursive=True)
        kept = names(tmp_path)
        assert len([name for name in kept if f".{running.pid}." in name]) == 3
        assert not any(f".{killed.pid}." in name for name in kept)
    finally:
        kill(running)
    remove_leftovers(tmp_path, recursive=True)
    assert names(tmp_path) == [".hidden.png", "sub"]


def test_a_process_id_that_was_used_again_is_no_owner(tmp_path):
    mine = owned_name("part.png")
    earlier = mine.replace(f".{ownership._start_time(os.getpid())}.", ".1.")
    assert earlier != mine
    for name in (mine, earlier):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [mine]


@pytest.mark.parametrize("name", [".other-7.1.1.0123456789ab.part.png", f".{'0' * 32}.png"])
def test_files_of_unknown_owners_are_left_alone_for_a_day(tmp_path, name):
    path = tmp_path / name
    path.touch()
    remove_leftovers(tmp_path)
    assert path.exists()
    yesterday = time.time() - 25 * 3600
    os.utime(path, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert not path.exists()


def test_a_folder_that_was_about_to_be_replaced_comes_back(tmp_path):
    process = start(f"""
import os
from pathlib import Path
from keras_rdanet.files import replacing_folder
target = Path({str(tmp_path / "model")!r})
target.mkdir()
(target / "a.txt").write_text("old")
rename, calls = os.rename, []
def stop(source, target):  # after the first of two renames
    rename(source, target)
    print("ready", flush=True)
    __import__("time").sleep(60)
os.rename = stop
with replacing_folder(target) as made:
    (made / "a.txt").write_text("new")
""")
    kill(process)
    assert not (tmp_path / "model").exists()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["model", "model/a.txt"]
    assert (tmp_path / "model" / "a.txt").read_text() == "old"


def test_nothing_is_left_of_what_was_replaced(tmp_path):
    for _ in range(2):
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.touch()
        with replacing_folder(tmp_path / "b"):
            pass
    assert names(tmp_path) == ["a.txt", "b"]


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path):
    lock = tmp_path / "lock"
    process = start(f"""
from keras_rdanet.ownership import locked
lock = locked({str(lock)!r}, "the folder")
lock.__enter__()
""")
    try:
        with (
            pytest.raises(OSError, match=f"the folder is in use .*host .*process {process.pid}"),
            locked(lock, "the folder"),
        ):
            pass
    finally:
        kill(process)
    assert lock.exists()
    with locked(lock, "the folder"):
        assert str(os.getpid()) in lock.read_text()
        with pytest.raises(OSError, match="the folder is in use"), locked(lock, "the folder"):
            pass
    assert names(tmp_path) == []


def test_only_one_of_many_gets_a_lock(tmp_path):
    code = f"""
import time
from keras_rdanet.ownership import locked
for _ in range(200):
    try:
        with locked({str(tmp_path / "lock")!r}, "it"):
            with open({str(tmp_path / "inside")!r}, "x"):
                pass
            __import__("os").unlink({str(tmp_path / "inside")!r})
    except FileExistsError:
        raise SystemExit(1)
    except OSError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert names(tmp_path) == []
