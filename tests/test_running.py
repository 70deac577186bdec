"""Running under a budget: what a call records and computes, first time and planned; errors and interrupts on the way."""

import tracemalloc
import warnings

import numpy as np
import pytest

import retape as rt
from retape.runtime.tape import Tape
from retape.scheduler.known import is_same

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal(4000)


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def chain(x, steps=40):
    y = x
    for _ in range(steps):
        y = np.sin(y) * x + 0.5
    return np.sum(y)


def test_a_planned_call_records_nothing(monkeypatch):
    recorded = []
    infer = Tape._infer
    monkeypatch.setattr(Tape, "_infer", lambda tape, op, *rest: (recorded.append(op.name), infer(tape, op, *rest))[1])
    step = rt.grad(chain, memory_budget=400_000)
    expected = rt.grad(chain)(X)
    counts = []
    for _ in range(3):
        recorded.clear()
        assert same_bits(step(X), expected)
        counts.append(len(recorded))
    assert counts[0] > 200 and counts[1:] == [0, 0]


def test_a_planned_call_reads_new_values_of_constants_and_leaves_where_their_kind_changes():
    factor = [2.0]
    step = rt.grad(lambda x: np.sum(np.sin(x * factor[0]) * factor[0]), memory_budget="1MiB")
    planners = []
    for value in (2.0, 3.0, -0.0, np.float64(3.0), 3, True, np.full(4000, 2.0), np.float32(2.0), 5.0):
        factor[0] = value
        assert same_bits(step(X), rt.grad(lambda x, f=value: np.sum(np.sin(x * f) * f))(X))
        planners.append(step.report.planner)
    assert planners[:3] == ["online", "keep_all", "keep_all"]
    assert planners[3] == planners[4] == "online"


def catching(x, attempts=6):
    total = np.sum(x[:9])
    for k in range(attempts):
        matrix = np.reshape(x[:9], (3, 3)) * (0.0 if k % 2 else 1.0)
        try:
            total = total + np.sum(np.linalg.inv(matrix))
        except np.linalg.LinAlgError:
            total = total * np.sum(np.cos(x))
        try:
            total = total + np.sum(x[:3] + x[:4])
        except ValueError:
            total = total + 1.0
    return total


def test_a_program_that_catches_an_op_s_error_goes_on_as_without_a_budget():
    x = X + 0.1
    expected = rt.grad(catching)(x)
    step = rt.grad(catching, memory_budget="1MiB")
    for _ in range(3):
        assert same_bits(step(x), expected)
        assert step.report.peak_bytes <= step.report.projected_bytes <= 2**20


def test_an_error_that_comes_only_in_a_later_call_is_caught_there_as_without_a_budget():
    def guarded(x, a):
        y = np.sin(x)
        try:
            return np.sum(np.linalg.inv(a)) * np.sum(y * y)
        except np.linalg.LinAlgError:
            return np.sum(np.cos(y) * y)

    step = rt.grad(guarded, memory_budget="1MiB")
    for a in (np.eye(3), np.eye(3), np.zeros((3, 3)), np.eye(3) * 2, np.zeros((3, 3))):
        assert same_bits(step(X, a), rt.grad(guarded)(X, a))


def count_warnings(call):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        call()
    return len(heard)


def test_what_numpy_warns_of_is_said_as_often_as_without_a_budget_though_values_are_made_again():
    def f(x):
        y = np.log(x * 0.0)
        for _ in range(20):
            y = np.tanh(y) * x
        return np.sum(y * np.log(x))

    x = np.linspace(0.5, 1.5, 4000)
    expected = count_warnings(lambda: rt.grad(f)(x))
    step = rt.grad(f, memory_budget=250_000)
    assert expected > 0
    for _ in range(3):
        assert count_warnings(lambda: step(x)) == expected
        assert step.report.extra_work > 0


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (1, 1, True), (1, 1.0, False), (1, True, False), (0.0, -0.0, False), (float("nan"), float("nan"), True),
        ({"axis": (0, 1)}, {"axis": (0, 1)}, True), ({"axis": (0, 1)}, {"axis": (0, True)}, False),
        ({"axis": 0}, {"axis": 0, "keepdims": False}, False), (slice(0, 2), slice(0, 2), True),
        (slice(0, 2), slice(0, 2.0), False), (None, {}, False), ([1, 2], [1, 2], True), ([1, 2], (1, 2), False),
        (np.dtype("f4"), np.dtype("f8"), False), ({"a": np.ones(2)}, {"a": np.ones(2)}, False),
    ],
)  # fmt: skip
def test_parameters_are_the_same_only_if_no_call_could_tell_them_apart(a, b, expected):
    assert is_same(a, b) is expected


interruption = [None]


def doubled_back(g):
    if interruption[0] is not None:
        raise interruption[0]("in the middle of the reverse sweep")
    return g * 2.0


doubled_back = rt.primitive(doubled_back, infer=lambda g: g).defvjp(lambda g: g * 2.0)
doubled = rt.primitive(lambda x: x * 2.0, infer=lambda x: x).defvjp(lambda g: doubled_back(g))


def interrupted(x):
    y = x
    for _ in range(5):
        y = np.sin(y) * x
    y = doubled(y)
    for _ in range(5):
        y = np.sin(y) * x
    return np.sum(y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
@pytest.mark.parametrize("calls_before", [0, 2])
def test_an_interrupt_in_the_reverse_sweep_leaves_nothing_behind_and_the_next_call_works(error, calls_before):
    x = GENERATOR.standard_normal(100_000)
    step = rt.grad(interrupted, memory_budget="8MiB")
    expected = rt.grad(interrupted)(x)
    for _ in range(calls_before):
        assert same_bits(step(x), expected)
    interruption[0] = error
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(error) as raised:
            step(x)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        interruption[0] = None
        tracemalloc.stop()
    # The error is still held, and with its frames the one array that the failing function was called with.
    assert raised.traceback and left < 1.2 * x.nbytes
    assert x.flags.writeable
    assert same_bits(step(x), expected)
