"""What cannot be differentiated says so: what happened, where, and the nearest cure."""

import math

import numpy as np
import pytest

import retape as rt

X = np.array([1.0, 2.0, 3.0])


def gradient_of(f, *args, **options):
    return lambda: rt.grad(f, **options)(*(args or (X,)))


KEPT = []


def escape(x):
    KEPT.append(x)
    return np.sum(x)


def use_an_escaped_array():
    rt.grad(escape)(X)
    return KEPT[-1] * 2


def use_an_escaped_array_in_another_transform():
    rt.grad(escape)(X)
    return rt.grad(lambda x: np.sum(x * KEPT[-1]))(X)


def write_into_a_plain_slice(x):
    buffer = np.zeros(3)
    buffer[:2] = x[:2]
    return buffer.sum()


def add_in_place_to_a_plain_array(x):
    total = np.zeros(3)
    rest = total[1:]
    total += x
    return total.sum() + rest.sum()


CASES = [
    ("a loss that is an array", gradient_of(lambda x: x * 2), rt.InputError, r"shape \(3,\).*np\.sum"),
    ("a number in a function's place", lambda: rt.grad(3), rt.InputError, "a function, not of int"),
    ("a plan of a number", lambda: rt.plan(3, X), rt.InputError, "a function, not of int"),
    ("a tradeoff of a number", lambda: rt.tradeoff(3, X), rt.InputError, "a function, not of int"),
    ("an explanation of a number", lambda: rt.explain(3, X), rt.InputError, "a function, not of int"),
    ("a loss that is a tuple", gradient_of(lambda x: (np.sum(x), x)), rt.InputError, "has_aux=True"),
    ("a loss that is None", gradient_of(lambda x: None), rt.InputError, "NoneType"),
    ("a loss that is a string", gradient_of(lambda x: "loss"), rt.InputError, "str"),
    ("a loss of integers", gradient_of(lambda x: np.argmax(x)), rt.InputError, "floating-point"),
    ("no auxiliary output", gradient_of(np.sum, has_aux=True), rt.InputError, r"\(loss, auxiliary\)"),
    ("no auxiliary output of vjp", lambda: rt.vjp(np.sum, X, has_aux=True), rt.InputError,
     r"\(loss, auxiliary\)"),
    ("an integer input", gradient_of(np.sum, np.arange(3)), rt.InputError, "convert it to float"),
    ("a Python integer", gradient_of(lambda x: x, 3), rt.InputError,
     "argument 0 is int.*convert it to float"),
    ("a boolean input", gradient_of(np.sum, np.array([True])), rt.InputError, "bool.*convert it to float"),
    ("an integer deep in a container", gradient_of(lambda p: 0.0, {"layers": [{"w": X, "n": np.arange(2)}]}),
     rt.InputError, r"\['layers'\]\[0\]\['n'\].*int64.*argnums="),
    ("an object input", gradient_of(np.sum, np.array([1.0, None])), rt.InputError, "object.*float64"),
    ("a string input", gradient_of(np.sum, "text"), rt.InputError, "str.*float64"),
    ("an empty container", gradient_of(lambda p: 0.0, {}), rt.InputError, "no arrays"),
    ("argnums past the end", gradient_of(np.sum, argnums=1), rt.InputError, "argument 1.*1 positional"),
    ("argnums before the start", gradient_of(np.sum, argnums=(0, -2)), rt.InputError, "argument -2"),
    ("argnums by name", gradient_of(np.sum, argnums=["x"]), rt.InputError, "argument x"),
    ("a gradient of no function", lambda: rt.grad(3.0), rt.InputError, "not of float"),
    ("float() of a traced value", gradient_of(lambda x: float(x[0])), rt.NotDifferentiableError,
     "stop_gradient"),
    ("int() of a traced value", gradient_of(lambda x: int(x[0]) * 1.0), rt.NotDifferentiableError,
     "stop_gradient"),
    ("math.sin of a traced value", gradient_of(lambda x: math.sin(x[0])), rt.NotDifferentiableError,
     "NumPy functions"),
    (".item() of a traced value", gradient_of(lambda x: x[0].item()), rt.NotDifferentiableError,
     "stop_gradient"),
    (".tolist() of a traced value", gradient_of(lambda x: sum(x.tolist())), rt.NotDifferentiableError,
     "stop_gradient"),
    ("a traced float as an index", gradient_of(lambda x: x[x[0]]), rt.NotDifferentiableError, "an index"),
    ("np.array under another name", gradient_of(lambda x: list(map(np.array, [x]))[0].sum()), rt.NotDifferentiableError,
     r"retape\.numpy"),
    ("np.sum of a list of them", gradient_of(lambda x: np.sum([x[0], x[1]])), rt.NotDifferentiableError,
     r"retape\.numpy"),
    ("a write into a plain slice", gradient_of(write_into_a_plain_slice), rt.NotDifferentiableError,
     r"retape\.numpy"),
    ("an in-place operator on a plain array", gradient_of(add_in_place_to_a_plain_array),
     rt.NotDifferentiableError,
     "zeros_like"),
    ("np.add.at on a plain array", gradient_of(lambda x: np.add.at(np.zeros(3), [0], x[0])),
     rt.NotDifferentiableError,
     "zeros_like"),
    ("a NumPy function in C without a rule", gradient_of(lambda x: np.packbits(x).sum()),
     rt.MissingRuleError, r"numpy\.packbits has no derivative rule.*test_errors\.py:\d+.*Compose it.*defvjp"),
    ("a ufunc without a rule", gradient_of(lambda x: np.nextafter(x, 1.0).sum()), rt.MissingRuleError,
     r"numpy\.nextafter has no derivative rule.*stop_gradient"),
    ("an escaped array", use_an_escaped_array, rt.EscapedError, r"test_errors\.py:\d+.*return it from the function"),
    ("an escaped array in another transform", use_an_escaped_array_in_another_transform, rt.EscapedError,
     "has_aux"),
    ("a cotangent of another shape", lambda: rt.vjp(np.sin, X)[1](np.ones(2)), rt.InputError,
     r"\(2,\).*\(3,\)"),
    ("a cotangent of another structure", lambda: rt.vjp(lambda x: (x, x), X)[1]({"a": X, "b": X}),
     rt.InputError,
     "the cotangent"),
    ("a cotangent with too few leaves", lambda: rt.vjp(lambda x: (x, x), X)[1]((X,)), rt.InputError,
     "1 leaves"),
    ("a complex loss", gradient_of(lambda x: np.sum(x * 1j)), rt.InputError, "take its real part"),
    ("an array of objects", gradient_of(lambda x: np.sum(x * np.array([1, None, 2]))), rt.TapeError,
     "object"),
    ("check_grads of integers", lambda: rt.check_grads(np.sum, np.arange(3)), rt.InputError,
     "convert it to float"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "run", "error", "message"), CASES, ids=[case[0] for case in CASES])
def test_bad_input_raises_an_error_that_names_the_cure(name, run, error, message):
    with pytest.raises(error, match=message):
        run()


def test_a_traced_scalar_written_into_a_plain_array_names_the_cure():
    def f(x):
        buffer = np.zeros(3)
        buffer[0] = x[0]
        return buffer.sum()

    with pytest.raises(rt.NotDifferentiableError, match=r"plain NumPy array.*test_errors\.py:\d+.*retape\.numpy"):
        rt.grad(f)(X)


def test_every_error_can_be_caught_as_one_and_as_pythons_own():
    kinds = [rt.InputError, rt.EscapedError, rt.MissingRuleError, rt.NotDifferentiableError]
    assert all(issubclass(kind, rt.TapeError) for kind in kinds)
    assert issubclass(rt.InputError, TypeError) and issubclass(rt.MissingRuleError, NotImplementedError)


def test_an_error_in_the_users_function_passes_through_and_harms_nothing():
    def f(x):
        y = rt.checkpoint(lambda x: np.sin(x))(x)
        if np.sum(y) < 100:
            raise KeyError("mine")
        return np.sum(y)

    gradient = rt.grad(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            gradient(X)
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(np.sin(x)))(X), np.cos(X))


@pytest.mark.parametrize("sweeps", [rt.grad, lambda f: rt.grad(rt.checkpoint(f))])
def test_a_plain_array_changed_after_it_was_read_is_not_used_in_silence(sweeps):
    def f(x):
        buffer = np.ones(3)
        y = x * buffer
        buffer[:] = 5.0
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only"):
        sweeps(f)(X)


def test_plain_arrays_are_writable_again_after_the_call():
    weights, rows = np.ones(3), np.array([0, 2])
    rt.grad(lambda x: np.sum(x * weights + x[rows].sum()))(X)
    with pytest.raises(InterruptedError):
        rt.grad(lambda x: np.sum(x * weights) if rt.grad(interrupted)(weights) else x)(X)
    weights += 1
    rows += 1


def interrupted(x):
    raise InterruptedError


def test_plain_arrays_that_no_rule_reads_may_be_changed():
    def f(x):
        buffer = np.zeros(3)
        y = x
        for k in range(3):
            buffer[:] = k
            y = y * (x + buffer.copy()) + buffer
        return np.sum(y)

    rt.check_grads(f, X)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"planning_effort": -1}, "planning_effort=-1 must be a whole number of simulated steps"),
        ({"planning_effort": "much"}, "planning_effort='much' must be a whole number of simulated steps"),
        ({"subscriber": 3}, "subscriber= is called with each event of a call, which 3 cannot be"),
    ],
)
def test_options_of_a_budget_that_cannot_be_meant_are_refused_before_anything_runs(options, said):
    with pytest.raises((ValueError, rt.InputError), match=said):
        rt.grad(np.sum, memory_budget="1MiB", **options)
