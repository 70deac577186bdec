"""Running under a budget: what a call records and computes, first time and planned; errors and interrupts on the way."""

import itertools
import sys
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest

import retape as rt
from retape.runtime.parameters import is_same
from retape.runtime.tape import Tape
from retape.scheduler import records, rest
from retape.scheduler.events import Planned
from retape.scheduler.follower import Follower

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal(4000)


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def report_of(step):
    assert step.report is not None
    return step.report


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


def branches(x):
    y = x
    for _ in range(12):
        y = np.sin(y) * x
        y = y * 2.0 if np.sum(y) > 1e9 else y + 0.5
    return np.sum(y)


def reads_early_what_comes_late(x):
    y = np.cos(x) if np.mean(np.exp(x)) > 0 else x
    for _ in range(12):
        y = np.sin(y) * x
    return np.sum(y) * float(rt.stop_gradient(np.max(y)))


def indexes_by_what_it_computed(x):
    y = x
    for _ in range(6):
        y = np.sin(y) * x
        y[y > 0.5] *= 0.7
    return np.sum(y) + y[int(np.argmax(y))]


def loops_until_it_is_small(x):
    y = x * 4.0
    while np.max(np.abs(y)) > 1.0:
        y = np.tanh(y) * 0.95 * np.sqrt(y * y + 0.1)
    return np.sum(y)


def reads_last(x):
    y = chain(x, steps=8)
    assert np.sum(np.tanh(x)) < 1e9
    return y


@pytest.mark.parametrize(
    "f", [branches, reads_early_what_comes_late, indexes_by_what_it_computed, loops_until_it_is_small, reads_last]
)
@pytest.mark.parametrize("share", [0.75, 0.5])
def test_a_program_that_reads_numbers_on_its_way_is_planned_once_and_follows_the_plan(f, share, monkeypatch):
    left = []
    leave = Follower.leave
    monkeypatch.setattr(Follower, "leave", lambda keeper: (left.append(keeper), leave(keeper))[1])
    budget = int(share * rt.plan(f, X, memory_budget="1GiB").projected_peak_bytes)
    step = rt.value_and_grad(f, memory_budget=budget, planning_effort=2000)
    expected = rt.value_and_grad(f)(X)
    for call in range(3):
        value, gradient = step(X)
        assert value == expected[0] and same_bits(gradient, expected[1])
        assert not call or report_of(step).planner != "online"
    assert not left


def follows(x, path):
    y = x
    for turn in path:
        y = np.sin(y) * x if turn else np.tanh(y * x) + 0.1
    return np.sum(y)


def planned_calls(paths):
    """Return which of the calls along these paths were planned anew, and which followed a plan to its end."""
    budget = int(0.6 * rt.plan(follows, X, paths[0], memory_budget="1GiB").projected_peak_bytes)
    events = []
    step = rt.grad(follows, memory_budget=budget, planning_effort=200, subscriber=events.append)
    planned, followed = [], []
    for call, path in enumerate(paths):
        events.clear()
        assert same_bits(step(X, path), rt.grad(follows)(X, path))
        if any(isinstance(event, Planned) for event in events):
            planned.append(call)
        if report_of(step).planner != "online":
            followed.append(call)
    return planned, followed


A, B, C = (tuple(float(c) for c in text) for text in ("1101011100", "1100110101", "1111110000"))


@pytest.mark.parametrize(
    "paths, planned, followed",
    [
        ([A] * 5, [1], [1, 2, 3, 4]),
        ([A, B] + [B] * 4, [1, 2], [2, 3, 4, 5]),  # the first call may be special
        ([A, B, C] * 5, [1, 2, 8], [4, *range(6, 15)]),
    ],
)
def test_the_paths_of_a_program_that_branches_are_planned_once_each_and_followed_in_the_order_they_came_in(
    paths, planned, followed
):
    found = planned_calls(paths)
    assert found == (planned, followed)


def test_a_program_that_never_takes_a_path_twice_is_planned_no_more_after_two_plans_in_vain():
    draw = np.random.default_rng(0)
    paths = list(dict.fromkeys(tuple(draw.integers(2, size=10).astype(float)) for _ in range(12)))
    assert planned_calls(paths) == ([1, 2], [])


def test_a_planned_call_reads_new_values_of_constants_and_leaves_where_their_kind_changes():
    factor: list[Any] = [2.0]
    step = rt.grad(lambda x: np.sum(np.sin(x * factor[0]) * factor[0]), memory_budget="1MiB")
    planners = []
    for value in (2.0, 3.0, -0.0, np.float64(3.0), 3, True, np.full(4000, 2.0), np.float32(2.0), 5.0):
        factor[0] = value
        assert same_bits(step(X), rt.grad(lambda x, f=value: np.sum(np.sin(x * f) * f))(X))
        planners.append(report_of(step).planner)
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
        assert report_of(step).peak_bytes <= report_of(step).projected_bytes <= 2**20


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


def test_an_op_that_nobody_reads_is_run_in_a_planned_call_too_for_it_may_fail():
    def checked(x, a):
        y = np.sin(x)
        try:
            np.linalg.cholesky(a * y[0])
        except np.linalg.LinAlgError:
            return np.sum(np.cos(y) * y)
        return np.sum(np.tanh(np.tanh(y)) * y)

    x = np.linspace(0.1, 1.0, 4000)
    planners = set()
    for share in (1.0, 0.75):
        step = rt.grad(checked, memory_budget=int(share * rt.plan(checked, x, np.eye(3)).projected_peak_bytes))
        for sign in (1.0, 1.0, -1.0, 1.0):
            assert same_bits(step(x, sign * np.eye(3)), rt.grad(checked)(x, sign * np.eye(3)))
            planners.add(report_of(step).planner)
    assert len(planners) > 2  # planned, and more than one way


def test_the_records_of_a_program_take_no_more_than_they_count_for(monkeypatch):
    monkeypatch.setattr(records, "_UNCOUNTED_BYTES", 0)
    x = GENERATOR.standard_normal(10)
    steps = 300

    def measured(call):
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            call()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    rt.grad(chain, memory_budget="64MiB")(x, 5)
    header = sys.getsizeof(np.empty(0))
    step = rt.grad(chain, memory_budget="64MiB")
    for _ in range(2):
        taken = measured(lambda: step(x, steps))
        calls = report_of(step).peak_bytes // records._RECORD_BYTES
        assert calls > 3 * steps  # what is counted is the records, mostly
        assert taken < report_of(step).peak_bytes + calls * header


def test_a_program_of_very_many_calls_is_refused_when_its_records_alone_pass_the_budget(monkeypatch):
    monkeypatch.setattr(records, "_UNCOUNTED_BYTES", 2**18)
    step = rt.grad(chain, memory_budget="400KiB")
    x = np.ones(10)
    assert same_bits(step(x, 20), rt.grad(chain)(x, 20))
    with pytest.raises(rt.MemoryBudgetError, match=r"records of \d+ calls.*retape.scan"):
        step(x, 400)


def test_the_records_of_the_reverse_sweep_displace_values_rather_than_pass_the_budget(monkeypatch):
    monkeypatch.setattr(records, "_UNCOUNTED_BYTES", 0)
    x = np.linspace(0.1, 1.0, 4000)
    step = rt.grad(chain, memory_budget="3MiB")
    assert same_bits(step(x, 200), rt.grad(chain)(x, 200))
    report = report_of(step)
    assert report.planner == "online"  # it went on from what the forward sweep had left
    assert report.peak_bytes <= report.projected_bytes <= 3 * 2**20


def test_a_reverse_sweep_that_would_start_over_step_after_step_is_planned_as_a_whole(monkeypatch):
    x = np.linspace(0.1, 1.0, 4000)
    reports = []
    for most in (rest._MOST_STEPS, 0):
        monkeypatch.setattr(rest, "_MOST_STEPS", most)
        step = rt.grad(chain, memory_budget=12 * x.nbytes, planning_effort=0)
        assert same_bits(step(x), rt.grad(chain)(x))
        reports.append(report_of(step))
        assert reports[-1].peak_bytes <= reports[-1].projected_bytes <= 12 * x.nbytes
    assert [report.planner == "online" for report in reports] == [True, False]


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
        assert report_of(step).extra_work > 0


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


shared = np.linspace(0.0, 1.0, 4000)
half = shared[:2000]


def overwriting_what_a_view_shows(x):
    y = np.sum(x[:2000] * half)
    shared[:] += 1.0
    return y


def overwriting_an_argument_through_a_view(x):
    y = np.sum(x * x)
    overwritten[1][0] += 1.0
    return y


overwritten = [np.ones(4000), None]
overwritten[1] = overwritten[0].reshape(2, -1)[0]


@pytest.mark.parametrize(
    "f, x, message",
    [
        (overwriting_what_a_view_shows, X, r"\(2000,\).*multiply.*test_running.py:\d+.*copy"),
        (overwriting_an_argument_through_a_view, overwritten[0], r"\(4000,\).*multiply.*test_running.py:\d+.*copy"),
    ],
)
def test_a_captured_array_that_is_overwritten_behind_the_program_s_back_is_named(f, x, message):
    step = rt.grad(f, memory_budget="1MiB")
    for _ in range(3):
        with pytest.raises(rt.ChangedError, match=message):
            step(x)


large = np.arange(2.0**18)
through = large[:]  # a view that was there before: it stays writable


def one_place(view):
    view[77_777] = np.nextafter(view[77_777], 0.0)


def another_order(view):
    view[:] = view[::-1].copy()


def a_shift(view):
    view[:] = np.roll(view, 1)


def the_sign(view):
    view *= -1.0


def the_exponent(view):
    view *= 16.0 if abs(view[-1]) < 1e9 else 0.0625


def two_places_of_a_column(view):
    view[[5, 1021 * 8 + 5]] = view[[1021 * 8 + 5, 5]]


@pytest.mark.parametrize("write", [one_place, the_sign, the_exponent, another_order, a_shift, two_places_of_a_column])
@pytest.mark.parametrize("is_argument", [False, True])
def test_a_large_array_that_is_written_to_through_an_older_view_of_it_is_named(write, is_argument):
    def f(x):
        y = np.sum(np.sin(x) * large)
        write(through)
        return y

    step = rt.grad(f, memory_budget="16MiB")
    for _ in range(2):
        with pytest.raises(rt.ChangedError, match=r"\(262144,\).*test_running.py:\d+.*copy"):
            step(large if is_argument else np.ones(2**18))


def test_an_argument_is_read_only_while_its_gradient_is_computed():
    x = np.ones(5)

    def f(a):
        y = np.sum(a * a)
        x[0] = 2.0
        return y

    with pytest.raises(ValueError, match="read-only"):
        rt.grad(f, memory_budget="1MiB")(x)
    x[0] = 3.0


ticks = itertools.count()
ticking = rt.primitive(lambda x: x * (1.0 + next(ticks)), infer=lambda x: x).defvjp(lambda g, x: g * x)


def test_a_primitive_that_gives_another_result_when_computed_again_is_named():
    def f(x):
        y = ticking(np.sin(x))
        for _ in range(12):
            y = np.sin(y) * x
        return np.sum(y * ticking(y))

    step = rt.grad(f, memory_budget=300_000)
    with pytest.raises(rt.ChangedError, match=r"lambda.*test_running.py:\d+.*retape.random"):
        step(X)


def test_a_primitive_whose_result_is_not_as_foreseen_is_named():
    longer = rt.primitive(lambda x: np.append(x, x[x > 1.0]) if x.max() > 1.0 else x).defvjp(lambda g, x: g[: x.size])
    with pytest.raises(rt.RuleError, match=r"\(4\d*,\).*foreseen.*infer="):
        rt.grad(lambda x: np.sum(longer(x)), memory_budget="1MiB")(X)


def net(x):
    y = x
    for _ in range(3):
        y = np.tanh(y * 1.1 + 0.1 * np.sin(y))
    return np.sum(y * y)


def kept_pullback(x):
    y, pullback = rt.vjp(lambda a: np.tanh(a) * np.sin(a), np.cos(x))
    for _ in range(4):
        y = np.sin(y) * x
    return np.sum(pullback(y)[0] * y)


def small_jacobian(x):
    rows = rt.jacobian(lambda a: np.stack([np.sum(np.sin(a)), np.sum(a**3), net(a)]))(x)
    return np.sum(rows**2) + np.sum(np.tanh(rows[1]))


NESTED = {
    "a gradient of a gradient": lambda x: np.sum(rt.grad(net)(x) ** 2),
    "a third derivative": lambda x: np.sum(rt.grad(lambda y: np.sum(rt.grad(net)(y) ** 2))(x) * x),
    "a Hessian-vector product": lambda x: np.sum(rt.hvp(net, (x,), (np.cos(x),))[0] ** 2),
    "forward over reverse": lambda x: np.sum(rt.jvp(rt.grad(net), (x,), (np.sin(x),))[1]),
    "forward mode": lambda x: rt.jvp(net, (x,), (x * 0.5,))[1],
    "a pullback kept alive": kept_pullback,
    "a Jacobian": small_jacobian,
    "a checkpointed function": lambda x: net(rt.checkpoint(lambda a: np.sin(a) * a)(x)),
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("share", [0.7, 0.45])
def test_transforms_inside_hold_the_budget_of_the_outermost_one(name, share):
    f = NESTED[name]
    expected = rt.grad(f)(X)
    budget = int(share * rt.plan(f, X).projected_peak_bytes)
    step = rt.grad(f, memory_budget=budget)
    for _ in range(2):
        try:
            found = step(X)
        except rt.MemoryBudgetError as refused:
            assert share < 0.5 and refused.needed_bytes > budget
            return
        assert same_bits(found, expected)
        assert report_of(step).peak_bytes <= report_of(step).projected_bytes <= budget
