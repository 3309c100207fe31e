import io
import sys

from keras_rdanet.progress import progress


def test_a_short_job_writes_nothing_where_output_is_kept(capsys):
    with progress(3, "tile") as bar:
        for _ in range(3):
            bar.update()
    assert capsys.readouterr() == ("", "")


def test_a_long_job_writes_a_line_every_ten_seconds_where_output_is_kept(capsys):
    now = [1000.0]
    with progress(50, "picture") as bar:
        bar._time = lambda: now[0]
        bar.start_t = bar.last_print_t = now[0]
        for _ in range(35):
            now[0] += 1
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    counts = [line.split(" pictures")[0] for line in lines]
    assert counts == ["10 of 50", "20 of 50", "30 of 50", "35 of 50"]  # the last at the end
    assert "00:10 gone" in lines[0]


def test_a_terminal_shows_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(3, "tile") as bar:
        bar.update(3)
    assert "\r" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
