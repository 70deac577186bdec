"""The metrics file: rows after a step are dropped from its end, and a full disk costs no row and no run."""

import errno
import json

import pytest

from retape.cluster.metrics import METRICS_NAME, MetricsFile, read_rows
from retape.cluster.rows import Rows, identity


def row(step, **more):
    return {"step": step, "loss": 1.0 / (step + 1), **more}


@pytest.mark.parametrize("padding", [0, 500, 100_000])
@pytest.mark.parametrize("step", [-1, 0, 3, 9, 20])
def test_rows_after_a_step_are_dropped_however_long_the_file(tmp_path, step, padding):
    path = tmp_path / METRICS_NAME
    written = [each for number in range(10) for each in (row(number, text="x" * padding), {"step": number, "val_loss": 2.0})]
    path.write_text("".join(json.dumps(each) + "\n" for each in written) + '{"step": 9, "lo')
    file = MetricsFile(path, step=step)
    file.write({"step": step, "warning": "appended"})
    file.close()
    assert read_rows(path) == [each for each in written if each["step"] <= step] + [{"step": step, "warning": "appended"}]


def test_a_line_that_is_no_row_is_no_obstacle(tmp_path):
    path = tmp_path / METRICS_NAME
    path.write_text('{"step": 1}\nnot json\n{"step": 5}\n')
    MetricsFile(path, step=3).close()
    assert path.read_text() == '{"step": 1}\nnot json\n'


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, text):
        fits = text[: self.room]
        self.room -= len(fits)
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(fits)

    def truncate(self, size):
        self.room += self.file.seek(0, 2) - size
        return self.file.truncate(size)

    def close(self):
        self.file.close()


@pytest.mark.parametrize("room", range(0, 200, 7))
def test_rows_wait_for_room_on_a_full_disk_and_none_is_lost_or_cut(tmp_path, room):
    rows = Rows(tmp_path)
    rows.open(0)
    disk = rows._file._file = FullDisk(rows._file._file, room)
    for step in range(10):
        rows.record(row(step))
        assert all("step" in each for each in read_rows(tmp_path / METRICS_NAME))
    disk.room = 10**6
    for step in (10, 11):
        rows.record(row(step))
    rows.close()
    written = read_rows(tmp_path / METRICS_NAME)
    assert [each["step"] for each in written if "loss" in each] == list(range(12))
    told = [each["warning"] for each in written if "warning" in each]
    assert len(told) == 2 and "No space left" in told[0] and "training goes on" in told[0] and "no row is missing" in told[1]
    assert tuple(written) == rows.since(0) and (tmp_path / METRICS_NAME).read_text().endswith("}\n")


def test_who_becomes_the_writer_adds_what_is_missing_and_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("retape.cluster.rows._TAIL_BYTES", 400)
    first, second = Rows(tmp_path), Rows(tmp_path)
    first.open(0)
    for step in range(1, 41):
        second.record(row(step))
        if step <= 37:
            first.record(row(step))
    first.close()
    second.open(39)
    second.close()
    written = read_rows(tmp_path / METRICS_NAME)
    assert [each["step"] for each in written] == list(range(1, 40)) and len({identity(each) for each in written}) == 39
