"""Runs on a local Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retape import random
from retape.checkpoint.errors import MemoryBudgetError
from retape.cluster import (
    ClusterSizeError,
    ConfigError,
    DataError,
    NonFiniteLossError,
    SnapshotError,
    WorkerDiedError,
    adamw,
    export_parameters,
    train,
    warmup_cosine,
)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def problem():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5), np.float32)
    targets = np.tanh(x @ rng.standard_normal((5, 2), np.float32))

    def init(seed):
        draw = np.random.default_rng(seed)
        return {
            "a": draw.standard_normal((5, 8), np.float32) * 0.3,
            "b": draw.standard_normal((8, 2), np.float32),
        }

    def loss(params, batch):
        x, targets = batch
        error = np.tanh(x @ params["a"]) @ params["b"] - targets
        return np.mean(error * error)

    return {
        "loss": loss,
        "init": init,
        "data": (x, targets),
        "optimizer": adamw(),
        "global_batch": 8,
        "rate": warmup_cosine(0.05, steps=6, warmup=1),
    }


def rows_of(out):
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def test_two_workers_train_and_a_resumed_run_has_the_same_bits(ray, tmp_path):
    evaluate = {"evaluate": lambda params, batch: {"val_size": float(len(batch[0]))}, "validate_every": 2}
    whole = train(**problem(), **evaluate, validation=problem()["data"], steps=6, out=tmp_path / "whole")
    first = train(**problem(), steps=3, out=tmp_path / "parts")
    second = train(**problem(), steps=6, out=tmp_path / "parts", resume=True)
    assert (whole.status, first.step, second.step) == ("finished", 3, 6)
    for name in "ab":
        assert whole.params[name].tobytes() == second.params[name].tobytes()
        for part in ("mean", "square"):
            assert whole.state[part][name].tobytes() == second.state[part][name].tobytes()
    losses = [[row["loss"] for row in rows_of(tmp_path / name) if "loss" in row] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    needed = {"step", "loss", "tokens_per_second", "budget_bytes", "projected_bytes", "peak_bytes", "host_bytes"}
    assert needed <= set(whole.rows[0])
    assert [row["step"] for row in whole.rows if "val_size" in row] == [2, 4, 6]


def test_one_and_two_workers_and_a_resized_run_have_the_same_bits_random_draws_included(ray, tmp_path):
    joined, left = tmp_path / "joined", tmp_path / "left"

    def loss(params, batch):
        # Until a second worker has joined, and left again, there must be steps left.
        time.sleep(0 if left.exists() else 0.01 if joined.exists() else 0.02)
        x, targets = batch
        hidden = random.dropout(np.tanh(x @ params["a"]), 0.25) * np.random.uniform(0.9, 1.1)
        error = hidden @ params["b"] - targets
        return np.mean(error * error)

    def run(name, **settings):
        return train(**{**problem(), "loss": loss, "global_batch": 10, "steps": 200, **settings}, out=tmp_path / name)

    def wanted(step):
        return 2 if step < 100 else 1

    def watch(row):
        if row["workers"] == 2:
            joined.touch()
        elif joined.exists():
            left.touch()

    resized = run("resized", workers=1, resize=wanted, on_row=watch)
    assert {row["workers"] for row in resized.rows} == {1, 2}
    for workers in (1, 2):
        result = run(str(workers), workers=workers)
        assert [row["loss"] for row in result.rows] == [row["loss"] for row in resized.rows]
        for name in "ab":
            assert result.params[name].tobytes() == resized.params[name].tobytes()


def test_each_steps_peak_is_within_what_was_projected_and_allowed(ray, tmp_path):
    for budget in ("64KiB", "auto"):
        result = train(**problem(), steps=2, memory_budget=budget, out=tmp_path)
        assert len(result.rows) == 2
        for row in result.rows:
            assert 0 < row["peak_bytes"] <= row["projected_bytes"] <= row["budget_bytes"]
            assert row["peak_bytes"] < row["host_bytes"]
            assert (row["budget_bytes"] == 64 * 1024) == (budget == "64KiB")


def test_a_budget_that_is_too_small_comes_back_from_the_workers_with_its_numbers(ray, tmp_path):
    with pytest.raises(MemoryBudgetError):
        train(**problem(), steps=2, memory_budget=64, out=tmp_path)


def test_a_nan_loss_is_named_with_its_step_and_the_last_good_snapshot_is_kept(ray, tmp_path):
    settings = problem()
    x, targets = settings["data"]
    spoiled = np.where(np.arange(64)[:, None] < 4, np.float32(np.nan), targets)
    with pytest.raises(NonFiniteLossError, match=r"step \d+: the loss is .*nan.*last good snapshot is .*step-"):
        train(**{**settings, "data": (x, spoiled)}, steps=20, snapshot_every=1, out=tmp_path)
    assert list((tmp_path / "snapshots").glob("step-*.snapshot"))
    assert all(np.isfinite(row["loss"]) for row in rows_of(tmp_path))


def test_what_the_loss_raises_comes_back_as_itself_with_the_workers_traceback(ray, tmp_path):
    def loss(params, batch):
        raise KeyError("my own mistake")

    with pytest.raises(KeyError, match="my own mistake") as caught:
        train(**{**problem(), "loss": loss}, steps=2, out=tmp_path)
    assert "in loss" in "".join(caught.value.__notes__)


def test_a_loss_that_is_not_a_scalar_is_an_error_that_says_so(ray, tmp_path):
    with pytest.raises(Exception, match="(?i)scalar"):
        train(**{**problem(), "loss": lambda params, batch: batch[0] @ params["a"]}, steps=2, out=tmp_path)


def test_more_workers_than_cpus_are_refused_with_both_numbers(ray, tmp_path):
    with pytest.raises(ClusterSizeError, match="8 workers.*largest with 4 CPUs.*room for 4"):
        train(**problem(), steps=2, workers=8, out=tmp_path)


@pytest.mark.parametrize(
    ("strike", "shard_optimizer"), [(signal.SIGTERM, False), (signal.SIGKILL, True)], ids=["told to end", "killed"]
)
def test_a_lost_worker_is_replaced_and_the_end_state_has_the_same_bits(ray, tmp_path, strike, shard_optimizer):
    settings = {**problem(), "steps": 40, "snapshot_every": 7, "shard_optimizer": shard_optimizer}
    plain = settings["loss"]
    marker = tmp_path / "died"

    def loss(params, batch):
        if (tmp_path / "out" / "snapshots" / "step-000000007.snapshot").exists():
            try:
                marker.touch(exist_ok=False)
                os.kill(os.getpid(), strike)
                (tmp_path / "went on").touch()
            except FileExistsError:
                pass
        return plain(params, batch)

    told = []
    result = train(**{**settings, "loss": loss}, out=tmp_path / "out", on_event=told.append)
    assert marker.exists() and any("was lost after step" in sentence for sentence in told)
    assert not (tmp_path / "went on").exists()
    whole = train(**{**settings, "shard_optimizer": False}, out=tmp_path / "whole")
    for name in "ab":
        assert result.params[name].tobytes() == whole.params[name].tobytes()
        assert result.state["mean"][name].tobytes() == whole.state["mean"][name].tobytes()
    for out in ("out", "whole"):
        assert [row["step"] for row in rows_of(tmp_path / out)] == list(range(1, 41))
    assert [row["step"] for row in result.rows] == list(range(1, 41))
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("retape-")]


@pytest.mark.slow
def test_workers_that_die_again_and_again_in_one_step_end_the_run(ray, tmp_path):
    def loss(params, batch):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerDiedError, match=r"11 times workers died in step 1.*snapshots/step-.*resume"):
        train(**{**problem(), "loss": loss}, steps=5, out=tmp_path)


def test_a_step_that_is_not_finite_can_be_skipped(ray, tmp_path):
    settings = problem()
    x, targets = settings["data"]
    spoiled = np.where(np.arange(64)[:, None] < 4, np.float32(np.nan), targets)
    result = train(**{**settings, "data": (x, spoiled)}, steps=8, nonfinite="skip", out=tmp_path)
    skipped = [row for row in result.rows if row.get("skipped")]
    assert skipped and result.step == 8 and all(np.isnan(row["loss"]) for row in skipped)
    assert all(np.isfinite(result.params[name]).all() for name in "ab")


@pytest.mark.slow
def test_a_snapshot_of_another_model_is_refused(ray, tmp_path):
    train(**problem(), steps=1, out=tmp_path)
    smaller = {**problem(), "init": lambda seed: {"a": np.zeros((5, 3), np.float32)}}
    with pytest.raises(SnapshotError, match="another model"):
        train(**smaller, steps=2, out=tmp_path, resume=True)


@pytest.mark.slow
def test_a_damaged_snapshot_is_named_and_the_one_before_is_used(ray, tmp_path):
    train(**problem(), steps=2, snapshot_every=1, out=tmp_path)
    newest = tmp_path / "snapshots" / "step-000000002.snapshot"
    newest.write_bytes(newest.read_bytes()[:-9])
    result = train(**problem(), steps=3, out=tmp_path, resume=True)
    assert result.step == 3 and [row["step"] for row in result.rows] == [2, 3]
    assert "step-000000002" in result.notes[0] and "cut short" in result.notes[0]
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 3]


@pytest.mark.slow
def test_a_new_run_sets_the_files_of_an_earlier_one_aside(ray, tmp_path):
    for _ in range(2):
        train(**problem(), steps=1, out=tmp_path)
    assert (tmp_path / "earlier-1" / "metrics.jsonl").exists()
    assert (tmp_path / "earlier-1" / "snapshots").is_dir()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"global_batch": 1}, ConfigError, "batch of 1 cannot be cut into 2 shards"),
        ({"shards": 3, "workers": 4}, ConfigError, "4 workers have only 3 logical shards"),
        ({"shards": 0}, ConfigError, "shards is 0"),
        ({"nonfinite": "hope"}, ConfigError, "'hope'; the known ones are stop, skip"),
        ({"wire": "float8"}, ConfigError, "'float8'; the known ones are float32, bfloat16"),
        ({"spares": -1}, ConfigError, "spares is -1"),
        ({"global_batch": 128}, DataError, "128 examples and the data holds 64"),
        ({"steps": 0}, ConfigError, "steps is 0"),
        ({"workers": 0}, ConfigError, "workers is 0"),
        ({"microbatch": 9}, ConfigError, "microbatch of 9"),
        ({"microbatch": "some"}, ConfigError, "microbatch is 'some'"),
        ({"memory_budget": "many"}, ValueError, "many"),
        ({"memory_budget": 0}, ValueError, "0"),
        ({"memory_budget": -5}, ValueError, "-5"),
        ({"threads": 0}, ConfigError, "threads is 0"),
        ({"clip_norm": -1.0}, ConfigError, "clip_norm"),
        ({"resume": True}, SnapshotError, "no snapshot"),
        ({"out": "/dev/null/x"}, ConfigError, "cannot be written"),
        ({"data": []}, DataError, "no examples"),
    ],
)
def test_bad_settings_are_refused_before_ray_starts(tmp_path, change, error, text):
    with pytest.raises(error, match=text):
        train(**{"steps": 2, "out": tmp_path, **problem(), **change})


def script(tmp_path, *arguments, **settings):
    root = Path(sys.modules["retape.cluster"].__file__).parent
    return subprocess.Popen(
        [sys.executable, str(root / "train.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **settings},
    )


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "--memory-budget"),
        (["--steps", "none"], 2, "'none' is not a whole number"),
        (["--memory-budget", "0%"], 2, "0%"),
        (["--memory-budget", "lots"], 2, "lots"),
        (["--model", "digits", "--global-batch", "1"], 2, "cannot be cut into 2 shards"),
        (["--data", "no/such/place"], 1, "no/such/place does not exist"),
        (["--config", "run.toml"], 2, "no setting 'stepps': did you mean steps?"),
    ],
)
def test_the_script_refuses_bad_arguments_in_one_paragraph(tmp_path, arguments, status, text):
    (tmp_path / "run.toml").write_text("stepps = 3\n")
    process = script(tmp_path, *arguments)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == status
    assert text in output and "Traceback" not in output


def test_the_script_ends_quietly_when_nobody_reads_what_it_prints(tmp_path):
    process = script(tmp_path, "--show-config", stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=120)) == ("", 1)
    process.stderr.close()


def until_steps(process, out, steps):
    """Waits until the script has written that many steps' rows."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "metrics.jsonl").exists() and sum("loss" in row for row in rows_of(out)) >= steps:
            return
        time.sleep(0.1)
    raise AssertionError(process.communicate()[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "preempted")]
)
def test_a_stopped_script_writes_a_snapshot_leaves_nothing_behind_and_resumes(tmp_path, number, status, said):
    out = tmp_path / "run"
    small = ["--model", "digits", "--out", str(out)]
    process = script(tmp_path, *small, "--steps", "100000", start_new_session=True)
    until_steps(process, out, 1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to every process of the group
    else:
        process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == status, output
    assert f"{said} after step" in output
    step = int(output.split(f"{said} after step ")[1].split(";")[0])
    assert (out / "snapshots" / f"step-{step:09d}.snapshot").exists()
    assert json.loads((out / "result.json").read_text())["status"] == said
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("retape-")]
    assert not _session_members(process.pid)
    resumed = script(tmp_path, *small, "--resume", "--steps", str(step + 5))
    output = resumed.communicate(timeout=180)[0]
    assert resumed.returncode == 0, output
    steps = [row["step"] for row in rows_of(out) if "loss" in row]
    assert steps == list(range(1, step + 6))
    for name in ("loss.png", "memory.png", "sample.txt", "result.json"):
        assert (out / name).stat().st_size > 0


@pytest.mark.slow
def test_a_script_whose_driver_was_killed_goes_on_when_it_is_started_again_and_has_the_same_bits(tmp_path):
    def command(name):
        return [
            "--model",
            "digits",
            "--out",
            str(tmp_path / name),
            "--steps",
            "300",
            "--snapshot-every",
            "20",
            "--resume",
            "auto",
        ]

    killed = script(tmp_path, *command("killed"))
    until_steps(killed, tmp_path / "killed", 50)
    refused = script(tmp_path, *command("killed"))
    assert "is training into" in refused.communicate(timeout=120)[0] and refused.returncode == 2
    killed.kill()
    killed.communicate()
    ends = []
    for name in ("killed", "whole"):  # the first at once, while workers of the lost driver may still be there
        process = script(tmp_path, *command(name))
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output
        result = json.loads((tmp_path / name / "result.json").read_text())
        assert (result["status"], result["step"]) == ("finished", 300)
        ends.append(export_parameters(result["snapshot"], tmp_path / f"{name}.npz"))
        assert [row["step"] for row in rows_of(tmp_path / name) if "loss" in row] == list(range(1, 301))
    assert ends[0].keys() == ends[1].keys()
    assert all(ends[0][name].tobytes() == ends[1][name].tobytes() for name in ends[0])


def _session_members(session):
    """Process ids of a session that are not zombies."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(entry.name))
    return members
