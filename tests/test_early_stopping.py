"""A run whose validation figure no longer becomes better stops: at the same step for any workers, faults and resumes."""

from dataclasses import replace

import numpy as np
import pytest
from test_worker import bits, crew, job, together

from retape.cluster import ConfigError, TrainConfig, latest_snapshot, load_snapshot
from retape.cluster.patience import Patience
from retape.cluster.snapshot import Best

SETTINGS = {"steps": 100, "validate_every": 5, "snapshot_every": 5, "patience": 3, "best": "lowest val_loss", "keep": 99}


@pytest.mark.parametrize(
    ("scores", "min_delta", "waited"),
    [
        ([3.0, 2.0, 1.0], 0.0, [0, 0, 0]),
        ([3.0, 2.0, 1.0], 1.0, [0, 1, 0]),
        ([3.0, 3.0, 4.0], 0.0, [0, 1, 2]),
        ([float("nan"), 3.0, float("nan"), 2.0], 0.0, [1, 0, 1, 0]),
    ],
)
def test_validations_without_a_better_figure_are_counted(scores, min_delta, waited):
    for sense, sign in (("lowest", 1), ("highest", -1)):
        known, found = Patience(), []
        for step, score in enumerate(scores):
            known = known.after(step, {"x": sign * score}, Best(sense, "x"), min_delta=min_delta)
            assert known.after(step, {"x": sign * score}, Best(sense, "x"), min_delta=min_delta) == known
            found.append(known.waited)
        assert found == waited and Patience.of(known.as_list()) == known


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_stops_when_the_figure_has_not_become_better_for_long_enough(tmp_path, count):
    made = replace(job(tmp_path, **SETTINGS), rate=lambda step: 0.05 if step < 12 else 0.0)
    workers = crew(count, made)
    assert {outcome.status for outcome in together(workers)} == {"stopped early"}
    # The figures of steps 5, 10 and 15 become better; those of 20, 25 and 30 stay as they are.
    assert {worker.replica.step for worker in workers} == {30} and len({str(bits(worker)) for worker in workers}) == 1
    newest, _ = latest_snapshot(tmp_path / "snapshots")
    like = {"params_like": workers[0].replica.params, "state_like": workers[0].replica.state}
    best = load_snapshot(tmp_path / "snapshots" / "best.snapshot", **like)
    assert newest.name == "step-000000030.snapshot" and best.step == 15
    np.testing.assert_array_equal(best.params["a"], workers[0].replica.params["a"])


def test_a_resumed_run_stops_where_one_that_was_never_interrupted_does(tmp_path):
    made = replace(job(tmp_path, **SETTINGS), rate=lambda step: 0.05 if step < 12 else 0.0)
    together(crew(1, made))
    for step in (20, 25, 30):
        (tmp_path / str(step)).mkdir()
        halfway = tmp_path / "snapshots" / f"step-{step:09d}.snapshot"
        [again] = crew(1, replace(made, resume=halfway, out=tmp_path / str(step)))
        assert together([again])[0].status == "stopped early" and again.replica.step == 30


def test_who_takes_over_knows_how_long_nothing_became_better(tmp_path):
    made = replace(job(tmp_path, **SETTINGS), rate=lambda step: 0.05 if step < 12 else 0.0)
    workers = crew(2, made)
    workers[0].replica.config = replace(workers[0].replica.config, steps=22)
    assert together(workers[:1])[0].status == "finished"
    workers[0].replica.config = workers[1].replica.config
    workers[1].take_over(workers[0].hand_over())
    assert {outcome.status for outcome in together(workers, 2)} == {"stopped early"}
    assert workers[1].replica.step == 30


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"patience": 3}, "say which with best"),
        ({"patience": 0, "best": "lowest x"}, "patience is 0"),
        ({"min_delta": -1.0}, "min_delta is -1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        TrainConfig(steps=1, global_batch=4, **settings)
