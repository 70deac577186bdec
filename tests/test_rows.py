import sys

from retape.cluster.metrics import METRICS_NAME, read_rows
from retape.cluster.rows import Rows


def test_a_step_is_recorded_with_as_little_work_after_2000_steps_as_at_the_start(tmp_path):
    rows, counts = Rows(tmp_path), []

    def count(frame, event, argument):
        counts[-1] += event in ("call", "c_call")

    for step in range(2100):
        counts.append(0)
        row = {"step": step, "loss": 1.0}
        sys.setprofile(count)
        try:
            rows.record(row)
        finally:
            sys.setprofile(None)
    assert counts[-1] <= counts[10] < 20


def test_two_mishaps_of_one_step_are_both_recorded_and_none_twice(tmp_path):
    rows = Rows(tmp_path)
    rows.open(0)
    made = [{"step": 3, "loss": 1.0}, {"step": 3, "warning": "full"}, {"step": 3, "warning": "written"}]
    for row in (*made, *made):
        rows.record(row)
    rows.close()
    assert read_rows(tmp_path / METRICS_NAME) == made == list(rows.since(0))
