"""How a run ended: its result file, in every case, and what the signals do."""

import json
import os
import re
import signal

import numpy as np
import pytest

from retape.cluster import NonFiniteLossError, RunError, sgd, train
from retape.cluster.ending import ending, status_of, write_json
from retape.cluster.job import TrainConfig
from retape.cluster.stopping import Preempted, stop_signals

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def loss(params, batch):
    return np.mean((batch @ params["w"]) ** 2)


PROBLEM = {
    "loss": loss,
    "init": lambda seed: {"w": np.ones(3)},
    "data": np.random.default_rng(0).standard_normal((16, 3)),
    "optimizer": sgd(),
    "global_batch": 4,
}


def result_of(out):
    return json.loads((out / "result.json").read_text())


def test_a_finished_runs_result_holds_its_numbers_and_what_conclude_adds(ray, tmp_path):
    seen = []

    def conclude(result):
        seen.append((result.step, (tmp_path / "result.json").exists()))
        return {"mine": 7}

    train(**PROBLEM, steps=4, memory_budget="1MiB", out=tmp_path, conclude=conclude)
    found = result_of(tmp_path)
    assert seen == [(4, False)]  # the result file is the last that is written
    assert (found["status"], found["error"], found["step"], found["steps"], found["mine"]) == ("finished", None, 4, 4, 7)
    assert 0 < found["peak_bytes"] <= found["projected_bytes"] <= found["budget_bytes"] == 2**20
    assert found["snapshot"].endswith("step-000000004.snapshot") and found["examples_per_second"] > 0
    assert found["loss"] == pytest.approx(json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["loss"])
    train(**PROBLEM, steps=4, out=tmp_path, resume="auto")  # nothing is left to do
    assert (result_of(tmp_path)["status"], result_of(tmp_path)["step"]) == ("finished", 4)


def test_a_failed_runs_result_names_the_error_and_the_last_good_snapshot(ray, tmp_path):
    spoiled = {**PROBLEM, "loss": lambda params, batch: loss(params, batch) * np.inf}
    with pytest.raises(NonFiniteLossError):
        train(**spoiled, steps=4, out=tmp_path)
    found = result_of(tmp_path)
    assert (found["status"], found["error"]["class"]) == ("failed", "NonFiniteLossError")
    assert "the loss is inf" in found["error"]["message"]
    assert found["snapshot"].endswith("step-000000000.snapshot")


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_a_loss_that_would_end_its_worker_ends_the_run_instead(ray, tmp_path, end):
    calls = tmp_path / "calls"

    def ending_loss(params, batch):
        with calls.open("a") as file:
            file.write("x")
        raise end

    with pytest.raises(RunError, match=re.escape(f"a function of the job raised {end!r}")) as caught:
        train(**{**PROBLEM, "loss": ending_loss}, steps=4, workers=1, out=tmp_path / "out")
    assert calls.read_text() == "x" and "in ending_loss" in "".join(caught.value.__notes__)
    assert result_of(tmp_path / "out")["status"] == "failed"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, "preempted"), pytest.param(signal.SIGINT, "interrupted", marks=pytest.mark.slow)]
)
def test_a_signal_in_the_middle_of_a_run_ends_it_after_a_step_with_a_snapshot(ray, tmp_path, number, status):
    def on_row(row):
        if row["step"] == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    result = train(**PROBLEM, steps=10**6, out=tmp_path, on_row=on_row)
    found = result_of(tmp_path)
    assert result.status == found["status"] == status
    assert 2 <= result.step == found["step"] < 10**6
    assert found["snapshot"].endswith(f"step-{result.step:09d}.snapshot")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "preempted")])
def test_a_signal_before_the_first_step_ends_a_run_at_once(number, status):
    with pytest.raises(KeyboardInterrupt) as caught, stop_signals():
        os.kill(os.getpid(), number)
    assert status_of(caught.value) == status
    assert isinstance(caught.value, Preempted) == (status == "preempted")


def test_a_second_interrupt_does_not_wait_for_the_step():
    with stop_signals() as stop:
        stop.finish_the_step()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested and stop.status == "preempted"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_result_without_steps_is_a_result_all_the_same(tmp_path):
    config = TrainConfig(steps=3, global_batch=4)
    figures = ending(config, [], status="failed", snapshot=None, wall_seconds=1.0, error=KeyError("w"))
    assert figures["error"] == {"class": "KeyError", "message": "'w'"}
    assert (figures["step"], figures["loss"], figures["peak_bytes"], figures["snapshot"]) == (None, None, None, None)


def test_a_json_file_is_replaced_whole_and_has_no_nan(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"loss": float("nan"), "validation": {"val_loss": float("inf"), "val_size": 2}})
    assert json.loads(path.read_text()) == {"loss": None, "validation": {"val_loss": None, "val_size": 2}}
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert json.loads(path.read_text())["loss"] is None
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
