"""What `train` and the command refuse: every bad setting ends in one error that names it, before anything is touched."""

import math
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from test_worker import crew, job, together

from retape.cluster import ConfigError, DataError, Optimizer, SnapshotError, adamw, sgd, train, warmup_cosine
from retape.cluster import command as commands
from retape.cluster import run as runs
from retape.cluster.job import Ready
from retape.cluster.leading import Staff, wanted_workers
from retape.cluster.optimizers import rate_at
from retape.cluster.processes import own_process
from retape.cluster.supervisor import Member, begin

X = np.random.default_rng(0).standard_normal((64, 3))
LOCK = threading.Lock()
MINE = Optimizer(lambda params: {}, lambda params, grads, state, rate: (params, state), "mine")


class Rows:
    """Sixty-four examples, or a length that is none."""

    def __init__(self, length=64):
        self.length = length

    def __len__(self):
        return self.length

    def batch(self, indices):
        return X[indices]


def init(seed):
    return {"w": np.zeros(3)}


def loss(params, batch):
    return np.mean((batch @ params["w"]) ** 2)


def evaluate(params, batch):
    return {"val_loss": float(loss(params, batch))}


def made(**leaves):
    return {"init": lambda seed: leaves}


BAD = [
    ({"rate": -0.1}, "rate is -0.1; it must be finite and above 0"),
    ({"rate": math.nan}, "rate is nan"),
    ({"rate": "0.1"}, "rate is '0.1'"),
    ({"rate": True}, "rate is True"),
    ({"rate": lambda step: math.nan}, "the learning rate of step 0 is nan"),
    ({"rate": lambda step: -1.0 if step == 57 else 1.0, "steps": 100}, "the learning rate of step 57 is -1.0"),
    ({"rate": lambda step: None}, "the learning rate of step 0 is None"),
    ({"rate": lambda step: 1 / step}, "of step 0 cannot be told: ZeroDivisionError"),
    ({"rate": warmup_cosine}, "missing 1 required keyword-only argument: 'steps'"),
    ({"seed": -1}, "seed is -1; it must be a whole number, 0 to 18446744073709551615"),
    ({"seed": 2**64}, "seed is 18446744073709551616"),
    ({"seed": 1.5}, "seed is 1.5"),
    ({"loss": None}, "loss is None; it must be a function, loss(params, batch)"),
    ({"loss": lambda params, batch: (LOCK, 0.0)[1]}, "loss cannot be sent to the workers (TypeError: cannot pickle '_thread"),
    ({"validation": X, "evaluate": lambda params, batch: LOCK}, "evaluate cannot be sent to the workers"),
    ({"init": {"w": X}}, "init is {'w'"),
    ({"init": lambda seed: {"w": X / 0 if seed else 1 // 0}}, "init(0) failed: ZeroDivisionError"),
    (made(), "init made no parameters"),
    (made(w=np.zeros(3), n=np.zeros(3, int)), "init made params['n'] of int64"),
    (made(w=np.array([1.0, np.nan])), "init made params['w'] with values that are NaN"),
    ({"optimizer": sgd}, "optimizer is the function sgd; it must be sgd()"),
    ({"optimizer": "adamw"}, "optimizer is 'adamw'; it must be adamw()"),
    ({"optimizer": None}, "optimizer is None; it must be an Optimizer, such as adamw()"),
    ({"optimizer": MINE, "shard_optimizer": True}, "which 'mine' does not have"),
    ({"steps": 1e3}, "steps is 1000.0"),
    ({"steps": True}, "steps is True"),
    ({"workers": 0}, "workers is 0"),
    ({"spares": 0.5}, "spares is 0.5; it must be a whole number, 0 or more"),
    ({"threads": 1.5}, "threads is 1.5; it must be a whole number, 1 or more"),
    ({"oversubscribe": "no"}, "oversubscribe is 'no'; it must be True or False"),
    ({"address": 5}, "address is 5"),
    ({"global_batch": 3, "shards": 4}, "a global batch of 3 cannot be cut into 4 shards"),
    ({"microbatch": True}, "microbatch is True; it must be a whole number, 1 or more, or 'auto'"),
    ({"memory_budget": "lots"}, "memory_budget='lots' cannot be read"),
    ({"memory_budget": "5 parsecs"}, "memory_budget='5 parsecs' cannot be read"),
    ({"memory_budget": [1]}, "memory_budget must be a number of bytes or a text such as '512MiB', not list"),
    ({"evaluate_every": 5}, "there is no setting 'evaluate_every': did you mean validate_every?"),
    ({"learning_rate": 0.1}, "there is no setting 'learning_rate': did you mean rate?"),
    ({"resum": True}, "there is no setting 'resum': did you mean resume?"),
    ({"zzz": 1}, "there is no setting 'zzz': the known ones are address, ahead_bytes"),
    ({"validate_every": 5}, "validate_every is given, and no validation data"),
    ({"validation": X}, "validation data and evaluate(params, batch) go together, and evaluate is not given"),
    ({"evaluate": evaluate}, "go together, and validation is not given"),
    ({"validation": X, "evaluate": 3}, "evaluate is 3; it must be a function, evaluate(params, batch)"),
    ({"validation": X, "evaluate": evaluate, "validate_examples": 0}, "validate_examples is 0"),
    ({"best": 3, "validation": X, "evaluate": evaluate}, "the best snapshot is 3; write lowest or highest"),
    ({"min_delta": "x"}, "min_delta is 'x'; it must be finite, 0 or more"),
    ({"clip_norm": "1"}, "clip_norm is '1'; it must be above 0, or None"),
    ({"units": 0}, "units is 0"),
    ({"deadline_seconds": None}, "deadline_seconds is None"),
    ({"loss_limit": math.nan}, "loss_limit is nan"),
    ({"shard_optimizer": "yes"}, "shard_optimizer is 'yes'"),
    ({"wire": ["float32"]}, "wire is ['float32']; the known ones are float32, bfloat16"),
    ({"resume": 3}, "resume is 3; it must be True, False"),
    ({"snapshots_at": 3}, "snapshots_at is 3"),
    ({"out": None}, "out is None; it must be the path of a folder"),
    ({"out": "a\0b"}, r"out is 'a\x00b'"),
    ({"on_row": 3}, "on_row is 3; it must be a function, on_row(row)"),
    ({"resize": 3}, "resize is 3; it must be a function, resize(step)"),
    ({"metrics_to": "tensorboard"}, "metrics_to is 'tensorboard'; it must be a list"),
    ({"used_rows": 3}, "used_rows is 3; it must be a function, used_rows(batch)"),
]
BAD_DATA = [
    ({"data": Rows}, "the data is the class Rows: make one of it"),
    ({"data": Rows(64.0)}, "the data does not tell its length: TypeError"),
    ({"data": "no/such/file.npy"}, "no/such/file.npy does not exist"),
    ({"data": ([0.0] * 64, [1.0] * 64)}, "data[0][4]: None and 123 more (a list counts as many numbers"),
    ({"validation": [], "evaluate": evaluate}, "the validation data holds no examples"),
    ({"validation": 5, "evaluate": evaluate}, "the validation data is of type int; give"),
]


@pytest.fixture
def unstarted(monkeypatch):
    """Has a run that would start a worker say so."""

    def lead(job, staff, **means):
        raise AssertionError("the workers were started")

    monkeypatch.setattr(runs, "lead", lead)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        *((change, ConfigError, said) for change, said in BAD),
        *((change, DataError, said) for change, said in BAD_DATA),
        ({"resume": "no/such/folder"}, SnapshotError, "there is no snapshot in "),
    ],
)
def test_a_bad_argument_is_named_before_a_worker_is_started(unstarted, tmp_path, change, kind, said):
    earlier = tmp_path / "metrics.jsonl"
    earlier.write_text("of a run before\n")
    settings = {"loss": loss, "init": init, "data": X, "optimizer": adamw(), "steps": 2, "global_batch": 8, "out": tmp_path}
    with pytest.raises(kind, match=re.escape(said)):
        train(**{**settings, **change})
    assert earlier.exists()


def test_whole_numbers_of_numpy_are_taken_as_plain_ones(unstarted, tmp_path):
    settings = {
        "loss": loss,
        "init": init,
        "data": X,
        "optimizer": adamw(),
        "out": tmp_path,
        "memory_budget": np.int64(2**20),
    }
    with pytest.raises(AssertionError, match="the workers were started"):
        train(**settings, steps=np.int32(2), global_batch=np.int64(8), seed=np.uint8(3), rate=np.float32(0.1))


def test_a_schedules_rate_is_looked_at_again_in_each_step():
    assert rate_at(lambda step: np.float64(0.5), 3) == 0.5
    with pytest.raises(ValueError, match="the learning rate of step 3 is nan; it must be finite, 0 or more"):
        rate_at(lambda step: math.nan, 3)


@pytest.mark.parametrize("returned", [0.5, {"val_loss": "low"}, {3: 0.5}, None, ["val_loss"]])
def test_what_evaluate_must_return_is_said(tmp_path, returned):
    [worker] = crew(1, replace(job(tmp_path, steps=1), evaluate=lambda params, batch: returned))
    [outcome] = together([worker])
    assert outcome.status == "failed"
    assert outcome.failure.text.endswith("it must be a dict of numbers by name") and repr(returned) in outcome.failure.text


def test_workers_are_wanted_as_asked_until_they_have_begun_and_then_at_most_one_for_each_shard():
    staff = Staff(2, 0, 1, None, False)
    state, _ = begin(2)
    assert wanted_workers(staff, lambda step: 9, 0, state) == 2
    ready = Ready(own_process(), "node", "host", {}, step=0, shards=4)
    state = replace(state, generation=1, workers={0: Member("running", ready=ready)})
    assert [wanted_workers(staff, lambda step, count=count: count, 7, state) for count in (1, 4, 9)] == [1, 4, 4]
    for wrong in (0, None, 1.5):
        with pytest.raises(ConfigError, match=re.escape(f"resize(step) is {wrong}; it must be a whole number")):
            wanted_workers(staff, lambda step, wrong=wrong: wrong, 7, state)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate=-1"], "argument --rate: '-1' is not a number above 0"),
        (["--rate", "nan"], "argument --rate: 'nan' is not a number above 0"),
        (["--seed", "-1"], "argument --seed: '-1' is not a whole number of 0 or more"),
        (["--seed", "1.5"], "argument --seed: '1.5' is not a whole number of 0 or more"),
        (["--seed", str(2**64)], "seed is 18446744073709551616; it must be"),
        (["--steps", "9" * 5000], "argument --steps: '999999999999...9999999999999' is not a whole number"),
        (["--steps", "²"], "argument --steps: '²' is not a whole number"),
        (["--stepps", "3"], "there is no flag --stepps: did you mean --steps?"),
        (["--stepps=3"], "there is no flag --stepps: did you mean --steps?"),
        (["more"], "'more' is no flag: see --help"),
        (["--ahead", "lots"], "argument --ahead: size='lots' cannot be read"),
        (["--workers", "9", "--shards", "4"], "9 workers have only 4 logical shards"),
        (["--best", "val_loss"], "write lowest or highest"),
        (["--patience", "3"], "say which with best"),
        (["report", "pyproject.toml"], "there is no run in pyproject.toml"),
    ],
)
def test_bad_words_end_the_command_with_status_2_and_one_error(capsys, monkeypatch, words, said):
    monkeypatch.setattr(commands, "build", lambda *_: pytest.fail("the model was made"))
    try:
        status = commands.main(words)
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr()
    assert status == 2 and shown.out == "" and said in shown.err
    assert "Traceback" not in shown.err and shown.err.count("retape-train: ") == 1
