"""scan, fori_loop and while_loop against plain Python loops: the same bits, few states held, and the counts of the theory."""

import tracemalloc

import numpy as np
import pytest

import retape as rt
from retape.checkpoint.loops.binomial import forward_steps
from retape.checkpoint.loops.mixed import least_runs
from retape.runtime.loops import on_trail

GENERATOR = np.random.default_rng(3)
W = GENERATOR.standard_normal((4, 4)) * 0.5
X = GENERATOR.standard_normal((23, 4))
V = GENERATOR.standard_normal(4)


def python_scan(step, carry, xs=None, *, length=None, checkpoints=None):
    count = length if xs is None else len(xs[0] if isinstance(xs, tuple) else xs)
    outputs = []
    for k in range(count):
        x = k if xs is None else tuple(part[k] for part in xs) if isinstance(xs, tuple) else xs[k]
        carry, y = step(carry, x)
        outputs.append(y)
    return carry, None if outputs[0] is None else np.stack(outputs)


def python_fori(lower, upper, body, carry, *, checkpoints=None):
    for k in range(lower, upper):
        carry = body(k, carry)
    return carry


def python_while(condition, body, carry, *, checkpoints=None):
    while condition(carry):
        carry = body(carry)
    return carry


class Python:
    scan, fori_loop, while_loop = staticmethod(python_scan), staticmethod(python_fori), staticmethod(python_while)


@rt.custom_vjp
def doubled(x):
    return x * 2.0


doubled.defvjp(lambda x: (x * 2.0, None), lambda _, g: (g * 2.0,))


def recurrence(loops, k):
    def f(w, c, x):
        c, y = loops.scan(lambda c, x: (np.tanh(c @ w + x), c[0] * x[1]), c, x, checkpoints=k)
        return np.sum(c) + np.sum(y * y)

    return f


def only_closures(loops, k):
    def f(w, c, x):
        def step(c, _):
            return np.sin(c) + np.exp(w)[0] * doubled(w)[1] + rt.checkpoint(np.tanh)(w)[2], None

        return np.sum(loops.scan(step, np.ones(4), length=11, checkpoints=k)[0] * c)

    return f


def containers(loops, k):
    def f(w, c, x):
        def step(carry, rows):
            a, b = rows
            state = {"h": carry["h"] * a + carry["n"], "n": carry["n"] + 0.5, "i": carry["i"] + 1}
            return state, state["h"] * b

        start = {"h": c, "n": np.zeros(4), "i": 0}
        last, y = loops.scan(step, start, (x, np.arange(23.0)), checkpoints=k)
        return np.sum(last["h"]) + np.sum(y) + last["i"] * np.sum(w)

    return f


def in_place(loops, k):
    def f(w, c, x):
        def step(c, x):
            c += x
            c[1:] *= c[:-1]
            c = c / (1.0 + np.sum(c * c))
            return c, None

        return np.sum(loops.scan(step, np.array(V) * c, x, checkpoints=k)[0])

    return f


def branches(loops, k):
    def f(w, c, x):
        def step(c, x):
            return (np.sin(c) * x if np.sum(c) > 0 else c - x * w[0]), None

        return np.sum(loops.scan(step, c, x, checkpoints=k)[0] ** 2)

    return f


def nested(loops, k):
    def f(w, c, x):
        def outer(c, x):
            inner, y = loops.scan(lambda d, v: (np.tanh(d * w[1] + v * c), np.sum(d)), c * x[0], x, checkpoints=k)
            return inner + np.sum(y) * x, None

        return np.sum(loops.scan(outer, c, x[:7], checkpoints=k)[0])

    return f


def a_gradient_inside(loops, k):
    def f(w, c, x):
        def energy(c):
            return np.sum(np.cos(c) * w[2]) + np.sum(c**2)

        return np.sum(loops.scan(lambda c, x: (c - 0.1 * rt.grad(energy)(c) * x, None), c, x[:6], checkpoints=k)[0])

    return f


def counted(loops, k):
    def f(w, c, x):
        return np.sum(loops.fori_loop(2, 19, lambda i, c: np.sin(c * i) + w[0] * x[i], c, checkpoints=k))

    return f


def until_large(loops, k):
    def f(w, c, x):
        def condition(state):
            return np.sum(state[0]) < 40.0 * w[0, 0] ** 2

        big = loops.while_loop(condition, lambda s: (s[0] + c**2, s[1] * w[1]), (c, c), checkpoints=k)
        return np.sum(big[0] * big[1])

    return f


def loop_without_derivative(loops, k):
    def f(w, c, x):
        table = loops.fori_loop(0, 5, lambda i, t: t + i, np.zeros(4), checkpoints=k)
        return np.sum(table * c)

    return f


PROGRAMS = [
    recurrence, only_closures, containers, in_place, branches, nested, a_gradient_inside, counted, until_large,
    loop_without_derivative,
]  # fmt: skip


def gradients(f):
    return rt.value_and_grad(f, (0, 1, 2))(W, V, X)


@pytest.mark.parametrize("k", [None, 1, 2, 5, 50])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_gradient_is_that_of_the_python_loop(program, k):
    value, expected = gradients(program(Python, None))
    found, made = gradients(program(rt, k))
    assert value == found
    for a, b in zip(expected, made, strict=True):
        # The same terms in the same order, but where one array comes in by several ways.
        assert np.array_equal(a, b) if program is not until_large else np.allclose(a, b, rtol=1e-14, atol=0)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_gradient_is_the_same_when_every_step_is_taped_alone(program, monkeypatch):
    monkeypatch.setattr(on_trail, "_MOST_STEPS", 1)
    _, expected = gradients(program(Python, None))
    for k in (1, 3, None):
        for a, b in zip(expected, gradients(program(rt, k))[1], strict=True):
            assert np.array_equal(a, b) or program in (nested, until_large) and np.allclose(a, b, rtol=1e-13, atol=0)
        again = rt.grad(lambda w, k=k: np.sum(rt.grad(program(rt, k))(w, V, X) ** 2))(W)
        other = rt.grad(lambda w: np.sum(rt.grad(program(Python, None))(w, V, X) ** 2))(W)
        assert np.allclose(again, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_other_transform_goes_through_a_loop_as_through_a_python_loop(program):
    f, g = program(rt, 2), program(Python, None)
    directions = (np.ones_like(W), np.ones_like(V), np.ones_like(X))
    for a, b in zip(rt.hvp(f, (W, V, X), directions), rt.hvp(g, (W, V, X), directions), strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-9)
    assert np.allclose(rt.jvp(f, (W, V, X), directions)[1], rt.jvp(g, (W, V, X), directions)[1], rtol=1e-12)
    budgeted = rt.grad(f, (0, 1, 2), memory_budget="2MiB")(W, V, X)
    assert all(np.array_equal(a, b) for a, b in zip(gradients(f if program is until_large else g)[1], budgeted, strict=True))
    assert f(W, V, X) == g(W, V, X)


@pytest.mark.parametrize("name", ["grad_of_grad", "grad_of_jvp", "jvp_of_grad", "jacobian"])
def test_nested_transforms_go_through_a_loop(name):
    def made(loops):
        f = recurrence(loops, 3)
        if name == "grad_of_grad":
            return rt.grad(lambda w: np.sum(rt.grad(f)(w, V, X) ** 2))(W)
        if name == "grad_of_jvp":
            return rt.grad(lambda w: rt.jvp(lambda v: f(v, V, X), (w,), (np.ones_like(W),))[1])(W)
        if name == "jvp_of_grad":
            return rt.jvp(lambda w: rt.grad(f)(w, V, X), (W,), (np.ones_like(W),))[1]
        return rt.jacobian(lambda w: loops.scan(lambda c, x: (np.tanh(c @ w + x), None), V, X)[0])(W)

    assert np.allclose(made(rt), made(Python), rtol=1e-10, atol=1e-10)


LARGE = 40_000  # so many numbers are more than what is small enough to be taped together


def runs_of(length, checkpoints):
    """Return how often the step was run for a gradient; its tape is far larger than its state."""
    runs = 0

    def step(c, _):
        nonlocal runs
        runs += 1
        return np.sum(np.exp(c * np.full(LARGE, 0.01))) / LARGE, None

    rt.grad(lambda c: rt.scan(step, c, length=length, checkpoints=checkpoints)[0])(0.3)
    return runs


@pytest.mark.parametrize(("length", "checkpoints"), [(1, 1), (2, 1), (10, 3), (100, 3), (100, 10)])
def test_steps_are_run_as_often_as_the_closed_form_says(length, checkpoints):
    assert runs_of(length, checkpoints) == forward_steps(length, checkpoints)


def test_tapes_are_held_where_they_are_small():
    runs = 0

    def step(c, _):
        nonlocal runs
        runs += 1
        return np.sin(c), None  # holds its input, and nothing else

    rt.grad(lambda c: np.sum(rt.scan(step, c, length=100, checkpoints=10)[0]))(np.ones(LARGE))
    assert runs == least_runs(100, 10, 1)[0][10, 100] == 237


def test_small_steps_are_taped_many_at_a_time():
    runs = 0

    def step(c, _):
        nonlocal runs
        runs += 1
        return np.sin(c), None

    rt.grad(lambda c: np.sum(rt.scan(step, c, length=2000)[0]))(np.ones(5))
    assert 2000 < runs <= 4000


def test_a_loop_of_unknown_length_runs_as_many_steps_as_a_known_one():
    runs = 0

    def body(c):
        nonlocal runs
        runs += 1
        return c[0] + 1.0, np.sum(np.exp(c[1] * np.full(LARGE, 0.01))) / LARGE

    rt.grad(lambda x: rt.while_loop(lambda c: c[0] < 60.0, body, (0.0, x), checkpoints=10)[1])(0.3)
    assert runs == forward_steps(60, 10)


def test_a_long_loop_holds_neither_tapes_nor_states_of_all_its_steps():
    size, length = LARGE, 40
    x = GENERATOR.standard_normal(size)

    def f(x):
        return np.sum(rt.scan(lambda c, _: (np.tanh(c * x) + np.sin(c), None), x, length=length, checkpoints=8)[0])

    rt.grad(f)(x)
    tracemalloc.start()
    try:
        rt.grad(f)(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Eight states, and a step's tape and cotangents; the plain loop holds 160 arrays.
    assert peak < 17 * x.nbytes


def test_a_step_may_write_into_a_plain_carry_and_the_callers_array_stays_as_it_is():
    start = np.zeros(4)

    def f(x):
        def step(carry, row):
            total, seen = carry
            seen += row
            return (total + np.sum(x * (seen + 0.0)), seen), seen  # a factor itself could not be written to any more

        (total, _), y = rt.scan(step, (0.0, start), X, checkpoints=2)
        return total + np.sum(y * x)

    gradient = rt.grad(f)(V)
    assert not start.any()
    assert np.allclose(gradient, 2.0 * np.sum(np.cumsum(X, axis=0), axis=0), rtol=1e-13)
    assert np.isclose(f(V), np.sum(gradient * V)) and not start.any()


def test_random_numbers_are_drawn_again_as_they_were():
    def made(loops, k):
        def f(x):
            noise = rt.random.Generator(7)
            return np.sum(loops.scan(lambda c, _: (c * noise.normal(size=4), None), x, length=9, checkpoints=k)[0])

        return rt.grad(f)(V)

    assert np.array_equal(made(Python, None), made(rt, 2))


def test_a_pullback_may_be_called_again():
    _, pullback = rt.vjp(lambda w: recurrence(rt, 4)(w, V, X), W)
    first = pullback(1.0)[0]
    assert np.array_equal(first, rt.grad(recurrence(Python, None))(W, V, X))
    assert np.array_equal(first, pullback(1.0)[0]) and np.array_equal(2.0 * first, pullback(2.0)[0])


def test_a_gradient_of_no_steps_is_that_of_the_carry():
    for loop in (
        lambda x: rt.scan(lambda c, r: (c * 2.0, None), x, np.zeros((0, 3)))[0],
        lambda x: rt.fori_loop(3, 3, lambda i, c: c * 2.0, x),
        lambda x: rt.while_loop(lambda c: c < 0.0, lambda c: c * 2.0, x),
    ):
        assert rt.grad(loop)(1.5) == 1.0 and loop(1.5) == 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rt.scan(lambda c, _: (c[:2], None), x, length=3), r"changed carry from float64\[4\] to float64\[2\]"),
        (lambda x: rt.scan(lambda c, _: ({"a": c["a"].astype(np.float32)}, None), {"a": x}, length=3), r"carry\['a'\]"),
        (lambda x: rt.scan(lambda c, _: ((c, c), None), x, length=3), "was given a carry built as"),
        (lambda x: rt.scan(lambda c, _: c, x, length=3), r"must return \(carry, output\)"),
        (lambda x: rt.scan(lambda c, k: (c, c[: k + 1]), x, length=3), "all must be alike"),
        (lambda x: rt.scan(lambda c, _: (c, None), x, (np.ones(3), np.ones(4))), "common leading axis"),
        (lambda x: rt.scan(lambda c, _: (c, None), x, np.ones(3), length=4), "of length=4"),
        (lambda x: rt.scan(lambda c, _: (c, None), x, 3.0), "common leading axis"),
        (lambda x: rt.scan(lambda c, _: (c, None), x), "needs xs, or length="),
        (lambda x: rt.scan(lambda c, _: (c, None), x, length=-1), "at least 0"),
        (lambda x: rt.scan(lambda c, _: (c, None), x, length=3, checkpoints=0), "checkpoints=0"),
        (lambda x: rt.fori_loop(0, 2.5, lambda i, c: c, x), "upper of a loop must be an integer"),
        (lambda x: rt.while_loop(lambda c: np.sum(c) < 9.0, lambda c: c[0], x), "step 0 of while_loop changed carry"),
    ],
)
def test_what_a_loop_cannot_do_is_said(call, message):
    for run in (call, rt.grad(lambda x: np.sum(call(x)[0])), rt.grad(lambda x: np.sum(call(x)[0]), memory_budget="1MiB")):
        with pytest.raises(rt.InputError, match=message):
            run(np.ones(4))


def not_repeatable_noise():
    noise = np.random.default_rng(0)
    return lambda c, _: (c * noise.standard_normal(4), None)


def not_repeatable_count():
    calls = []

    def step(c, _):
        calls.append(0)
        return c * len(calls), None

    return step


@pytest.mark.parametrize("make", [not_repeatable_noise, not_repeatable_count])
def test_a_step_that_does_not_do_the_same_again_is_named(make):
    with pytest.raises(rt.TapeError, match="gave other numbers when run again"):
        rt.grad(lambda x: np.sum(rt.scan(make(), x, length=6, checkpoints=2)[0]))(V)


def test_a_variable_that_is_set_again_after_the_loop_is_noticed():
    def f(w):
        c = rt.scan(lambda c, _: (c * w, None), 1.0, length=6, checkpoints=2)[0]
        w = w + 0.0
        return c * w

    with pytest.raises(rt.TapeError, match="set again after the loop"):
        rt.grad(f)(1.1)


def test_a_program_may_go_on_after_an_error_in_a_step():
    def f(x):
        try:
            rt.scan(lambda c, k: (np.ones(3) @ np.ones(k + 3) * c, None), x, length=5)
        except ValueError:
            return x * x
        return x

    assert rt.grad(f)(3.0) == 6.0


def test_an_array_of_a_step_that_got_out_is_refused():
    kept = []

    def step(c, _):
        kept.append(c)
        return c * 2.0, None

    with pytest.raises(rt.EscapedError):
        rt.grad(lambda x: np.sum(rt.scan(step, x, length=3)[0]) * kept[0][0])(V)


@pytest.mark.parametrize("options", [{}, {"memory_budget": "1MiB"}])
def test_a_python_number_from_around_a_loop_takes_on_the_dtype_of_what_it_meets(options):
    x = np.ones(3, np.float32)

    def f(s):
        return np.sum(rt.scan(lambda c, _: (rt.checkpoint(lambda c, s: c * (s * 0.5))(c, s), None), x, length=3)[0])

    value, gradient = rt.value_and_grad(f, **options)(4.0)
    assert value.dtype == np.float32 and value == 24.0 and gradient == 18.0
