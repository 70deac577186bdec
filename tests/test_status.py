"""The status of a run: what its driver writes, and what is read of it while it runs, after its end, and after its loss."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from retape.cluster import ConfigError, sgd, train
from retape.cluster.command import main
from retape.cluster.job import Pulse, Ready, TrainConfig
from retape.cluster.processes import Process, own_process
from retape.cluster.status import STATUS_NAME, StatusFile, read_status
from retape.cluster.supervisor import Member, State

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

CONFIG = TrainConfig(steps=50, global_batch=8, memory_budget=2**20)


def row(step, **more):
    return {"step": step, "loss": 1.0 / step, "step_seconds": 0.5, "peak_bytes": 1000 + step, "budget_bytes": 2**20, **more}


def ready(pid, host):
    return Ready(Process(pid, 0), "node", host, {}, 0, 4)


def running(tmp_path, monkeypatch):
    monkeypatch.setattr("retape.cluster.status._WRITE_SECONDS", 0.0)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row(step)) + "\n" for step in (1, 2, 3)))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "step-000000002.snapshot").touch()
    file = StatusFile(tmp_path, CONFIG, tmp_path / "snapshots")
    members = {
        7: Member("running", step=3, ready=ready(100, "10.0.0.1")),
        8: Member("running", step=3, ready=ready(200, "10.0.0.2")),
        9: Member("idle", step=0, ready=ready(300, "10.0.0.2")),
        10: Member(),
    }
    heard = {7: (3, "reducing", 0.1), 8: (3, "gradients", 2.0), 9: (0, "starting", 0.2)}
    pulses = {number: (Pulse(own_process(), "node", step, phase), age) for number, (step, phase, age) in heard.items()}
    file.show(State(2, generation=1, workers=members, formed=(8, 7)), pulses)


def test_a_running_job_tells_its_figures_and_each_workers_rank_process_node_and_phase(tmp_path, monkeypatch):
    running(tmp_path, monkeypatch)
    status = read_status(tmp_path)
    assert (status.state, status.step, status.steps, status.is_over) == ("running", 3, 50, False)
    assert (status.loss, status.examples_per_second) == (pytest.approx(1 / 3), 16.0)
    assert (status.peak_bytes, status.budget_bytes) == (1003, 2**20)
    assert status.snapshot == str(tmp_path / "snapshots" / "step-000000002.snapshot") and status.snapshot_age_seconds < 60
    assert status.driver.startswith(f"process {os.getpid()} on ") and 0 <= status.silent_seconds < 60
    seen = [(each.rank, each.pid, each.host, each.phase, each.step) for each in status.workers]
    assert seen == [
        (1, 100, "10.0.0.1", "reducing", 3),
        (0, 200, "10.0.0.2", "gradients", 3),
        (None, 300, "10.0.0.2", "idle", 0),
        (None, None, "", "starting", 0),
    ]
    assert status.workers[1].silent_seconds >= 2.0
    shown = str(status)
    assert "step 3 of 50, loss 0.3333, 16.0 examples/s" in shown and "rank    1  step 3  reducing" in shown


def change(tmp_path, **changes):
    file = tmp_path / STATUS_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("driver", "age", "state", "told"),
    [
        ({"pid": 2**22 + 1, "born": 1}, 0.0, "running", "lost"),  # no such process, though it wrote just now
        ({"pid": os.getpid(), "born": 1}, 0.0, "running", "lost"),  # its number was given to another
        ({}, 3600.0, "running", "running"),  # alive, though it stands still
        ({"host": "elsewhere"}, 5.0, "running", "running"),
        ({"host": "elsewhere"}, 60.0, "running", "lost"),
        ({"host": "elsewhere"}, 60.0, "starting", "starting"),
    ],
)
def test_a_run_whose_driver_is_gone_is_lost(tmp_path, monkeypatch, driver, age, state, told):
    running(tmp_path, monkeypatch)
    mine = json.loads((tmp_path / STATUS_NAME).read_text())["driver"]
    assert (mine["pid"], mine["born"]) == (os.getpid(), own_process().born)
    change(tmp_path, driver={**mine, **driver}, written=time.time() - age, state=state)
    status = read_status(tmp_path)
    assert status.state == told
    assert ("--resume auto" in str(status)) == (told == "lost")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(2), "starting"),
        (State(2, workers={1: Member("idle")}, formed=(1,)), "regrouping"),
        (State(2, workers={1: Member("running")}, formed=(1,), is_stopping=True), "stopping"),
    ],
)
def test_the_state_of_a_job_is_the_supervisors(tmp_path, monkeypatch, state, told):
    monkeypatch.setattr("retape.cluster.status._WRITE_SECONDS", 0.0)
    StatusFile(tmp_path, CONFIG, "s3://bucket/run").show(state, {})
    assert read_status(tmp_path).state == told


def test_the_file_is_written_once_a_second_at_most(tmp_path):
    file = StatusFile(tmp_path, CONFIG, tmp_path)
    (tmp_path / STATUS_NAME).unlink()
    file.show(State(2), {})
    assert not (tmp_path / STATUS_NAME).exists()


def test_an_ended_run_tells_how_it_ended(tmp_path, monkeypatch):
    running(tmp_path, monkeypatch)
    error = {"class": "NonFiniteLossError", "message": "step 4: the loss is nan"}
    (tmp_path / "result.json").write_text(json.dumps({"status": "failed", "error": error, "step": 3, "snapshot": "x"}))
    status = read_status(tmp_path)
    assert (status.state, status.is_over, status.workers, status.snapshot) == ("failed", True, (), "x")
    assert "NonFiniteLossError: step 4: the loss is nan" in str(status)


def test_a_folder_of_runs_gives_the_newest_and_one_without_a_run_is_refused(tmp_path):
    for age, name in ((100, "old"), (0, "new")):
        (tmp_path / name).mkdir()
        StatusFile(tmp_path / name, CONFIG, tmp_path / name)
        os.utime(tmp_path / name / STATUS_NAME, (time.time() - age,) * 2)
    assert read_status(tmp_path).folder == str(tmp_path / "new")
    with pytest.raises(ConfigError, match="no run in .*nowhere"):
        read_status(tmp_path / "nowhere")


def test_the_command_prints_text_or_json_and_watches_to_the_end(tmp_path, monkeypatch, capsys):
    running(tmp_path, monkeypatch)
    assert main(["status", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}: running, led by process {os.getpid()}")
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        (tmp_path / "result.json").write_text(json.dumps({"status": "finished", "step": 50}))

    monkeypatch.setattr("retape.cluster.watching.time.sleep", sleep)
    assert main(["status", str(tmp_path), "--json", "--watch", "0.25"]) == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert (states, looks) == (["running", "finished"], [0.25])
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    assert "there is no run in" in capsys.readouterr().err


def test_a_real_run_can_be_looked_at_from_outside(ray, tmp_path):
    seen = []

    def on_row(_):
        if len(seen) < 20:
            seen.append(read_status(tmp_path))

    def loss(params, batch):
        time.sleep(0.02)
        return np.mean((batch @ params["w"]) ** 2)

    train(
        loss=loss,
        init=lambda seed: {"w": np.ones(3)},
        data=np.ones((16, 3)),
        optimizer=sgd(),
        steps=80,
        global_batch=4,
        out=tmp_path,
        on_row=on_row,
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; from retape.cluster.train import main; sys.exit(main())"]
        + ["status", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert (ended["state"], ended["step"], ended["workers"]) == ("finished", 80, [])
    assert {"running"} <= {status.state for status in seen} <= {"starting", "running"}
    ranked = [status.workers for status in seen if any(each.rank is not None for each in status.workers)]
    assert ranked and {each.rank for each in ranked[-1]} == {0, 1}
    assert all(each.pid and each.phase in ("gradients", "reducing", "updating", "saving", "starting") for each in ranked[-1])
