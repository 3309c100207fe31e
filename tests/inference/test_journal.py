import json

import pytest

from keras_rdanet.inference.journal import REPORT, Journal

DONE = {"file": "a.png", "status": "ok", "sha256": "1", "options": "2"}


def lines(folder):
    return [json.loads(line) for line in (folder / REPORT).read_text().splitlines()]


def test_records_are_written_at_once_and_in_order_at_the_end(tmp_path):
    with Journal.opened(tmp_path, resume=False) as journal:
        for name in "bca":
            journal.add({"file": name})
            assert lines(tmp_path)[-1] == {"file": name}
        journal.add({"file": "b", "status": "ok"})
        journal.rewrite()
    assert lines(tmp_path) == [{"file": "a"}, {"file": "b", "status": "ok"}, {"file": "c"}]


def test_done_is_what_an_older_journal_says_of_the_same_content_and_options(tmp_path):
    with Journal.opened(tmp_path, resume=False) as journal:
        journal.add(DONE)
        journal.add({**DONE, "file": "b.png", "status": "failed"})
    with Journal.opened(tmp_path, resume=True) as journal:
        assert journal.says_done(DONE)
        assert not journal.says_done({**DONE, "sha256": "3"})
        assert not journal.says_done({**DONE, "options": "3"})
        assert not journal.says_done({**DONE, "file": "b.png"})
    with Journal.opened(tmp_path, resume=False) as journal:
        assert not journal.says_done(DONE)


@pytest.mark.parametrize("damage", [b'{"file": "b.png", "sta', b"[]", b"7", b"\xff\0", b"[" * 9999])
def test_a_damaged_line_costs_that_line(tmp_path, damage):
    (tmp_path / REPORT).write_bytes(json.dumps(DONE).encode() + b"\n" + damage)
    with Journal.opened(tmp_path, resume=True) as journal:
        assert journal.says_done(DONE)
    assert lines(tmp_path) == [DONE]


def test_one_job_at_a_time_has_a_journal_open(tmp_path):
    with Journal.opened(tmp_path, resume=False) as journal:
        journal.add(DONE)
        with (
            pytest.raises(OSError, match="is in use by another job"),
            Journal.opened(tmp_path, resume=False),
        ):
            pass
    assert lines(tmp_path) == [DONE]
    assert [path.name for path in tmp_path.iterdir()] == [REPORT]


def test_names_that_are_not_unicode_are_kept(tmp_path):
    record = {**DONE, "file": "\udcff.png"}
    with Journal.opened(tmp_path, resume=False) as journal:
        journal.add(record)
    with Journal.opened(tmp_path, resume=True) as journal:
        assert journal.says_done(record)
