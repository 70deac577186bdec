"""Spilling: the plan's arithmetic against small numbers, the bits, and disks that are missing, full, broken or gone."""

import errno
import gc
import os
import shutil
import threading

import numpy as np
import pytest

import retape as rt
from retape.checkpoint import saved
from retape.checkpoint.disk import Disk
from retape.checkpoint.plan import Plan
from retape.checkpoint.planners import PLANNERS
from retape.checkpoint.program import Program
from retape.checkpoint.spilling import elapsed_seconds, spilling
from retape.checkpoint.steps import Compute, Drop, Load, Spill
from retape.scheduler import spill
from retape.scheduler.schedule import replay, schedule
from retape.scheduler.spill import SpillFile

FAST = Disk(2**40, 1e15, 1e15)
SLOW = Disk(2**40, 1e3, 1e3)


def chain(n, size=100):
    """Return the forward-and-reverse program of `n` calls, each reverse call reading the output of its own."""
    program = Program(outputs=(2 * n - 1,), forward=n)
    for v in range(n):
        program.add(size, (v - 1,) if v else (), cost=1.0)
    for v in range(n - 1, -1, -1):
        program.add(size, tuple(sorted({len(program) - 1, v})), cost=1.0)
    return program


def two_outputs_and_a_skip(n):
    program = Program(forward=n)
    for v in range(n):
        program.add(60 + 10 * (v % 5), tuple(sorted({max(v - 1, 0), max(v - 7, 0)} - {v})), cost=1.0 + v % 3, workspace=20)
    for v in range(n - 1, -1, -1):
        program.add(60 + 10 * (v % 5), tuple(sorted({len(program) - 1, v})), cost=1.0)
    return Program(
        program.sizes, program.inputs, program.costs, program.workspaces, program.overwrites, program.labels,
        program.lines, (len(program) - 1, len(program) - 9), n,
    )  # fmt: skip


PROGRAMS = {"chain of 3": chain(3), "chain of 40": chain(40), "two outputs and a skip": two_outputs_and_a_skip(30)}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("share", [1.0, 0.7, 0.4, 0.2])
@pytest.mark.parametrize("disk", [FAST, SLOW, Disk(500, 1e15, 1e15)], ids=["fast", "slow", "small"])
def test_every_plan_that_spills_replays_within_its_budget_and_the_disk(name, share, disk):
    program = PROGRAMS[name]
    kept = PLANNERS["keep_all"](program, float("inf"))
    assert kept is not None
    budget = int(share * kept.projected_peak_bytes)
    plan = spilling(program, budget, disk, bytes([1]) * len(program))
    if plan is None:
        assert budget < program.lower_bound_bytes() or disk.capacity_bytes == 500
        return
    assert replay(schedule(plan, range(len(program)))) == plan.projected_peak_bytes <= budget
    assert plan.spilled_bytes <= disk.capacity_bytes
    assert all(plan.computed)


def test_a_chain_spills_what_the_budget_has_no_room_for_and_computes_everything_once():
    program = chain(10)
    plan = spilling(program, 500, FAST, bytes([1]) * 20)
    assert plan is not None and plan.extra_work == 0 and plan.waiting_seconds == pytest.approx(0, abs=1e-9)
    # Three of five places serve the call at hand and the value before it, so at least five of ten values must go.
    assert 500 <= plan.spilled_bytes <= 1000


def test_values_that_may_not_be_spilled_stay_in_memory():
    program = chain(10)
    assert spilling(program, 500, FAST, bytes(20)) is None
    plan = spilling(program, 900, FAST, bytes([1] * 4 + [0] * 16))
    assert plan is not None and {step.value for step in plan.steps if isinstance(step, Spill)} <= {0, 1, 2, 3}


def test_elapsed_time_counts_computing_and_what_it_waits_for():
    program = chain(2)
    disk = Disk(10**6, 50.0, 100.0)  # 2 s to write a value, 1 s to read one
    beside = [Compute(0), Spill(0), Compute(1), Compute(2)]
    assert elapsed_seconds(program, beside, disk) == 3.0
    dropped = [Compute(0), Spill(0), Compute(1), Drop(0), Compute(2), Load(0), Compute(3)]
    # Computed by 2; written by 3, so freed at 3; computed by 4; read by 5; computed by 6.
    assert elapsed_seconds(program, dropped, disk) == 6.0


def test_a_read_begins_before_the_calls_that_it_can_run_beside():
    plan = spilling(chain(12), 900, Disk(10**6, 1e9, 100.0), bytes([1]) * 24)
    assert plan is not None
    steps = list(plan.steps)
    ahead = [
        next(
            k for k, later in enumerate(steps[place + 1 :]) if isinstance(later, Compute) and step.value in uses(plan, later)
        )
        for place, step in enumerate(steps)
        if isinstance(step, Load)
    ]
    assert ahead and max(ahead) > 0


def uses(plan, step):
    return plan.program.inputs[step.value]


@pytest.fixture
def fast(monkeypatch):
    """A disk that always pays, whatever this machine's is like."""
    monkeypatch.setattr(spill, "_measured", lambda folder: Disk(0, 1e15, 1e15))


def layers(params, x):
    for weight in params:
        x = np.tanh(x @ weight)
    return np.mean(x * x)


GENERATOR = np.random.default_rng(0)
PARAMS = [GENERATOR.standard_normal((64, 64)) / 8 for _ in range(12)]
X = GENERATOR.standard_normal((512, 64))


def turned(x):
    for _ in range(8):
        x = np.tanh(x.T * 1.1) + x[::-1].T
    return np.sum(x * x)


def looked_at(x):
    for _ in range(10):
        x = np.sin(x) * 1.5
        if x[0, 0] > 100:
            return np.sum(x)
    return np.sum(x * x)


CASES = {
    "layers": (layers, (PARAMS, X)),
    "values in Fortran order": (turned, (GENERATOR.standard_normal((160, 160)),)),
    "values that the program reads": (looked_at, (GENERATOR.standard_normal((128, 128)),)),
}


def report_of(step):
    assert step.report is not None
    return step.report


def same_bits(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(np.atleast_1d(a), np.atleast_1d(b), strict=True))


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("name", CASES)
def test_spilled_values_come_back_with_the_same_bits_and_no_file_is_left(name, tmp_path):
    f, args = CASES[name]
    expected = rt.grad(f)(*args)
    budget = int(0.4 * rt.plan(f, *args).projected_peak_bytes)
    step = rt.grad(f, memory_budget=budget, spill=tmp_path, spill_budget="20MiB")
    for _ in range(3):
        assert same_bits(step(*args), expected)
        assert report_of(step).peak_bytes <= report_of(step).projected_bytes <= budget
    report = report_of(step)
    assert report.spilled_bytes > 0 and report.planner == "spilling"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("fast")
def test_a_plan_that_spills_is_saved_loaded_and_followed_to_the_same_bits(tmp_path, monkeypatch):
    plan = rt.plan(layers, PARAMS, X, memory_budget="2MiB", spill=tmp_path)
    assert plan.spilled_bytes > 0
    path = tmp_path / "layers.plan"
    plan.save(path)
    loaded = rt.load_plan(path)
    assert loaded.plan(plan.program, 2 * 2**20).steps == plan.steps
    again = rt.plan(layers, PARAMS, X, memory_budget="2MiB", spill=tmp_path, planner=loaded)
    assert (again.steps, again.waiting_seconds) == (plan.steps, plan.waiting_seconds)
    step = rt.grad(layers, memory_budget="2MiB", spill=tmp_path, planner=loaded)
    for _ in range(2):
        assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))
    assert report_of(step).spilled_bytes == plan.spilled_bytes
    assert report_of(step).peak_bytes <= plan.projected_peak_bytes
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="name a folder with spill="):
        rt.grad(layers, memory_budget="2MiB", planner=loaded)
    with pytest.raises(rt.PlanMismatchError, match="raise spill_budget"):
        rt.grad(layers, memory_budget="2MiB", spill=tmp_path, spill_budget="64KiB", planner=loaded)(PARAMS, X)
    # A disk that fills up meanwhile: the program is computed all the same.
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X)) and report_of(step).spilled_bytes == 0


@pytest.mark.parametrize(
    ("steps", "is_sound"),
    [
        ([Compute(0), Spill(0), Drop(0), Load(0), Compute(1)], True),
        ([Compute(0), Drop(0), Load(0), Compute(1)], False),
        ([Compute(0), Drop(0), Spill(0), Load(0), Compute(1)], False),
        ([Compute(0), Spill(0), Load(0), Compute(1)], False),
        ([Compute(0), Spill(0), Spill(0), Compute(1)], False),
    ],
)
def test_a_plan_that_reads_what_was_never_written_is_not_sound(steps, is_sound):
    program = Program(outputs=(1,), forward=1)
    program.add(10)
    program.add(10, (0,))
    assert saved.is_sound(Plan(program, tuple(steps), "by hand")) is is_sound


@pytest.mark.usefixtures("fast")
def test_a_program_that_leaves_a_plan_that_spills_is_right(tmp_path):
    flips = [0]

    def f(x):
        for k in range(12):
            x = np.sin(x) if (k + flips[0]) % 5 else np.tanh(x) * x
        return np.sum(x)

    x = GENERATOR.standard_normal(16384)
    step = rt.grad(f, memory_budget=10 * x.nbytes, spill=tmp_path)
    for flips[0] in (0, 0, 1, 0, 3, 3, 0):
        assert same_bits(step(x), rt.grad(f)(x))


@pytest.mark.usefixtures("fast")
def test_a_budget_below_what_recomputing_needs_is_held_by_spilling(tmp_path):
    def wide(x):
        parts = [np.sin(x * k) for k in range(1, 9)]
        total = parts[0]
        for part in reversed(parts):
            total = total * part
        return np.sum(total)

    x = GENERATOR.standard_normal(16384)
    step = rt.grad(wide, memory_budget=7 * x.nbytes, spill=tmp_path)
    for _ in range(2):
        assert same_bits(step(x), rt.grad(wide)(x))


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_files_and_memory_are_gone_after_an_error_in_the_middle_and_the_next_call_works(error, tmp_path):
    fail = [False]

    def f(params, x):
        loss = layers(params, x)
        if fail[0]:
            assert list(tmp_path.iterdir()) == [], "the file has no name, so a killed process leaves none"
            raise error
        return loss

    step = rt.grad(f, memory_budget="2MiB", spill=tmp_path)
    step(PARAMS, X)
    step(PARAMS, X)
    assert report_of(step).spilled_bytes > 0
    gc.collect()
    before = open_files()
    fail[0] = True
    with pytest.raises(error):
        step(PARAMS, X)
    fail[0] = False
    gc.collect()
    assert open_files() == before and list(tmp_path.iterdir()) == []
    assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))


@pytest.mark.usefixtures("fast")
def test_an_interrupt_while_the_spill_thread_starts_leaves_no_thread_and_no_file(tmp_path, monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        if thread.name == "retape-spill":
            raise KeyboardInterrupt

    step = rt.grad(layers, memory_budget="2MiB", spill=tmp_path)
    step(PARAMS, X)
    gc.collect()
    before = open_files()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(threading.Thread, "start", interrupted)
        step(PARAMS, X)
    gc.collect()
    assert open_files() == before
    assert not any(thread.name == "retape-spill" for thread in threading.enumerate())
    assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))
    assert report_of(step).spilled_bytes > 0


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("is_full_from_the_start", [True, False])
def test_a_full_disk_means_recomputing_instead(is_full_from_the_start, tmp_path, monkeypatch):
    step = rt.grad(layers, memory_budget="2MiB", spill=tmp_path)
    if not is_full_from_the_start:
        step(PARAMS, X)
        step(PARAMS, X)
        assert report_of(step).spilled_bytes > 0
    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(2):
        assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))
        assert report_of(step).spilled_bytes == 0 and report_of(step).peak_bytes <= 2 * 2**20


@pytest.mark.usefixtures("fast")
def test_where_neither_the_disk_nor_recomputing_will_do_the_error_tells_of_both(tmp_path):
    with pytest.raises(rt.MemoryBudgetError) as refused:
        rt.grad(layers, memory_budget="300KiB", spill=tmp_path)(PARAMS, X)
    assert any("spilled" in note for note in refused.value.__notes__)


@pytest.mark.usefixtures("fast")
def test_a_disk_that_breaks_while_values_are_on_it_is_an_error_and_the_next_call_works(tmp_path, monkeypatch):
    step = rt.grad(layers, memory_budget="2MiB", spill=tmp_path)
    step(PARAMS, X)
    step(PARAMS, X)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwritev", lambda *_: full())
        with pytest.raises(rt.SpillError, match="No space left"):
            step(PARAMS, X)
    assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))


@pytest.mark.usefixtures("fast")
def test_a_folder_that_vanishes_means_recomputing_instead(tmp_path):
    folder = tmp_path / "spilled"
    folder.mkdir()
    step = rt.grad(layers, memory_budget="2MiB", spill=folder)
    step(PARAMS, X)
    step(PARAMS, X)
    assert report_of(step).spilled_bytes > 0
    shutil.rmtree(folder)
    assert same_bits(step(PARAMS, X), rt.grad(layers)(PARAMS, X))
    assert report_of(step).spilled_bytes == 0


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(kind, tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(rt.SpillError, match="cannot spill into"):
        rt.grad(np.sum, memory_budget="1MiB", spill=tmp_path / kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"spill": "."}, "give a memory_budget"), ({"spill_budget": "1GiB", "memory_budget": "1MiB"}, "name a folder")],
)
def test_options_that_make_no_sense_alone_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rt.grad(np.sum, **options)


def test_a_real_disk_is_measured_and_its_budget_is_the_least_of_what_is_allowed_and_free(tmp_path):
    disk = spill.spill_folder(tmp_path, 12345).disk()
    assert disk.capacity_bytes == 12345
    assert disk.write_bytes_per_second > 0 and disk.read_bytes_per_second > 0
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_either_order_come_back_whole_from_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "_PIECE", 1000)
    first, second = GENERATOR.standard_normal((40, 30)), np.asfortranarray(GENERATOR.standard_normal((25, 31)))
    file = SpillFile(tmp_path, first.nbytes + second.nbytes)
    try:
        file.write(1, first)
        file.write(2, second)
        back = np.empty_like(first), np.empty_like(second)
        file.read(2, back[1])
        file.read(1, back[0])
        file.wait_all()
    finally:
        file.close()
    assert same_bits(back[0], first) and np.array_equal(back[1], second)
