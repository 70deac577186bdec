"""Levels: nested transforms keep their variables apart, threads their arrays, and nothing stays open after an error."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_ops import real

import retape as rt
from retape.runtime.levels import innermost

X = real(3)


def forward(f):
    return lambda x: rt.jvp(f, (x,), (1.0,))[1]


def backward(f):
    return lambda x: rt.vjp(f, x)[1](1.0)[0]


def checkpointed(f):
    return rt.grad(rt.checkpoint(f))


def under_a_budget(f):
    return rt.grad(f, memory_budget="1MiB")


def linear(f):
    return lambda x: rt.linearize(f, x)[1](1.0)


MODES = [forward, backward, linear, checkpointed]
OUTERMOST = [*MODES, under_a_budget]
CONFUSABLE = {
    "x times the slope of x + y": (lambda d: lambda x: x * d(lambda y: x + y)(1.0), 1.0),
    "a slope at x itself": (lambda d: lambda x: d(lambda y: y * y * x)(x), 4 * 1.5),
    "a slope that is a constant": (lambda d: lambda x: d(lambda y: np.sin(x) * 2.0)(x), 0.0),
    "a slope of the outer variable alone": (lambda d: lambda x: x * d(lambda y: x * x)(x), 0.0),
    "a product of both": (lambda d: lambda x: d(lambda y: x * y * np.exp(y))(0.0), 1.0),
    "a branch on the outer variable": (lambda d: lambda x: d(lambda y: x * y if x > y else y)(1.0), 1.0),
    "a container closed over": (lambda d: lambda x: d(lambda y: y * {"a": [x * x]}["a"][0])(1.0), 3.0),
    "two slopes in one": (lambda d: lambda x: d(lambda y: d(lambda z: x * y * z)(1.0))(1.0), 1.0),
    "a slope at the slope": (lambda d: lambda x: d(lambda y: y**3)(d(lambda z: x * z)(1.0)), 9.0),
    "a write of the outer variable": (lambda d: lambda x: d(lambda y: written(x, y))(2.0), 1.0),
}  # fmt: skip


def written(x, y):
    z = y * np.ones(2)
    z[0] = z[0] * x
    return np.sum(z)


@pytest.mark.parametrize("outer", OUTERMOST)
@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("name", CONFUSABLE)
def test_inner_and_outer_variables_are_not_confused(name, inner, outer):
    make, expected = CONFUSABLE[name]
    assert float(outer(make(inner))(1.5)) == pytest.approx(expected, rel=1e-13)
    assert innermost() is None


@pytest.mark.parametrize("outer", OUTERMOST)
@pytest.mark.parametrize("middle", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_three_levels_that_all_meet_are_kept_apart(inner, middle, outer):
    slope = outer(lambda x: x * middle(lambda y: x * y * inner(lambda z: x * y * z * z)(3.0))(2.0))
    # 6 x y of x y times that is 6 x**2 y**2, its slope by y 12 x**2 y, at 2 and times x: 24 x**3
    assert float(slope(1.5)) == pytest.approx(72 * 1.5**2, rel=1e-13)


@pytest.mark.parametrize("outer", OUTERMOST)
def test_a_budget_over_a_traced_array_that_was_not_passed_in_is_refused(outer):
    with pytest.raises(rt.TapeError, match="make it an argument.*or put the budget on the outermost"):
        outer(lambda x: x * under_a_budget(lambda y: x + y)(1.0))(1.5)
    assert innermost() is None


@pytest.mark.parametrize("outer", OUTERMOST)
@pytest.mark.parametrize("inner", MODES)
def test_steps_down_a_slope_are_differentiated(inner, outer):
    def steps(x):
        for _ in range(3):
            x = x - 0.1 * inner(lambda y: y**2)(x)
        return x

    assert float(outer(steps)(1.0)) == pytest.approx(0.8**3, rel=1e-13)


def run_all(works):
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(work) for work in works]]


def test_transforms_in_many_threads_at_once_give_what_they_give_alone():
    shared = {"scale": np.array([1.0, 2.0, 3.0])}

    def f(x):
        for _ in range(30):
            x = np.sin(x * shared["scale"]) + 0.1 * x
        return np.sum(x)

    kinds = [
        rt.grad(f), rt.grad(f, memory_budget="1MiB"), rt.grad(rt.checkpoint(f)), lambda x: rt.jvp(f, (x,), (x,))[1],
        rt.hessian(f), lambda x: rt.hvp(f, (x,), (x,))[0],
    ]  # fmt: skip
    expected = [kind(X + k) for k in range(4) for kind in kinds]
    barrier = threading.Barrier(len(expected))

    def work(k, kind):
        barrier.wait()
        return [kind(X + k) for _ in range(3)], innermost()

    for found, alone in zip(
        run_all([lambda k=k, kind=kind: work(k, kind) for k in range(4) for kind in kinds]), expected, strict=True
    ):
        assert found[1] is None
        for one in found[0]:
            np.testing.assert_array_equal(one, alone)
    assert shared["scale"].flags.writeable


@pytest.mark.parametrize("use", [lambda x: x * 2, np.sin, lambda x: x[0], lambda x: np.linalg.norm(x), rt.checkpoint(np.cos),
    lambda x: rt.grad(lambda y: np.sum(x * y))(X)])  # fmt: skip
@pytest.mark.parametrize(
    "mode",
    [rt.grad, lambda f: rt.grad(f, memory_budget="1MiB"), lambda f: lambda x: rt.jvp(f, (x,), (x,)), rt.jacobian,
     lambda f: rt.grad(rt.checkpoint(f))],
    ids=["grad", "budget", "jvp", "jacobian", "checkpoint"],
)  # fmt: skip
def test_a_traced_array_used_in_another_thread_is_an_error(mode, use):
    def f(x):
        return np.sum(run_all([lambda: use(x)])[0])

    with pytest.raises(rt.ThreadError, match="another thread"):
        mode(f)(X)
    assert innermost() is None


def test_each_thread_may_differentiate_inside_another_threads_transform():
    def f(x):
        plain = run_all([lambda: rt.grad(lambda y: np.sum(y**2))(X)])[0]
        return np.sum(x * plain)

    np.testing.assert_allclose(rt.grad(f)(X), 2 * X)


KEEPS = {
    "grad": rt.grad,
    "budget": lambda f: rt.grad(f, memory_budget="1MiB"),
    "vjp": lambda f: lambda x: rt.vjp(f, x),
    "jvp": lambda f: lambda x: rt.jvp(f, (x,), (x,)),
    "linearize": lambda f: lambda x: rt.linearize(f, x),
    "checkpoint": lambda f: rt.grad(rt.checkpoint(f)),
    "jacobian": rt.jacobian,
    "record": lambda f: lambda x: rt.record(f, x),
}


@pytest.mark.parametrize("mode", KEEPS)
def test_an_array_that_escaped_its_transform_is_an_error_to_use(mode):
    kept = []

    def f(x):
        kept.append(x)
        kept.append(np.sin(x))
        kept.append(np.sum(kept[1]))
        return kept[2]

    KEEPS[mode](f)(X)
    for array in kept[:2]:
        for use in (
            rt.checkpoint(np.sin),
            lambda a: a + 1,
            np.exp,
            lambda a: a[0],
            np.sum,
            lambda a: a.reshape(3, 1),
            lambda a: X @ a,
        ):
            with pytest.raises(rt.EscapedError, match="after its transform had ended"):
                use(array)
    with pytest.raises(rt.EscapedError):
        rt.grad(lambda x: np.sum(x * kept[1]))(X)
    for again in ("grad", "budget", "vjp", "jvp", "linearize"):
        with pytest.raises(rt.EscapedError):
            KEEPS[again](lambda x: np.sum(x) and kept[2])(X)
    assert innermost() is None


@pytest.mark.parametrize("wrap", [lambda f: f, rt.checkpoint, lambda f: lambda x: rt.grad(f)(x)])
@pytest.mark.parametrize("mode", KEEPS)
def test_an_exception_in_the_users_function_leaves_nothing_open_and_nothing_frozen(mode, wrap):
    table = np.ones(3)

    def f(x):
        y = np.sum(x * table)
        raise LookupError(f"a {type(y).__name__} too many")

    with pytest.raises(LookupError, match="too many"):
        KEEPS[mode](wrap(f))(X)
    assert innermost() is None
    table[0] = 2.0
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(x * table))(X), table)


@pytest.mark.parametrize("mode", KEEPS)
def test_arrays_are_frozen_while_they_are_captured_and_no_longer(mode):
    table = np.ones(3)

    def f(x):
        return np.sum(np.sin(x) * table)

    KEEPS[mode](f)(X)
    assert table.flags.writeable and X.flags.writeable and innermost() is None


class Model:
    def __init__(self, scale):
        self.scale = scale

    def loss(self, x, power=2, *, shift=0.0):
        return np.sum(self.scale * x**power + shift)

    @classmethod
    def of_two(cls, x):
        return cls(2.0).loss(x)

    @staticmethod
    def plain(x):
        return np.sum(x**2)

    def __call__(self, x):
        return self.loss(x)


BUDGETS = [None, "1MiB"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_methods_and_callable_objects_are_differentiated_like_functions(budget):
    for f, factor in ((Model(3.0).loss, 6), (Model.of_two, 4), (Model.plain, 2), (Model(1.5), 3)):
        np.testing.assert_allclose(rt.grad(f, memory_budget=budget)(X), factor * X)


@pytest.mark.parametrize("budget", BUDGETS)
def test_keyword_arguments_are_passed_on_and_not_differentiated(budget):
    found = rt.grad(Model(3.0).loss, memory_budget=budget)(X, power=3, shift=X)
    np.testing.assert_allclose(found, 9 * X**2)
    by_scale, by_x = rt.grad(lambda scale, x: Model(scale).loss(x), (0, 1), memory_budget=budget)(2.0, X)
    np.testing.assert_allclose(by_scale, X @ X)
    np.testing.assert_allclose(by_x, 4 * X)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    ("args", "argnums", "loss", "path"),
    [
        ((X, {"a": [X, 2.0]}), (0, 1), lambda x, p: np.sum(x * p["a"][0]), r"argument 1\['a'\]\[1\]"),
        ((X, X), (1, 0), lambda x, y: np.sum(x), "argument 1:"),
        (({"b": X, "n": 3}, X), (0, 1), lambda p, x: np.sum(x), r"argument 0\['b'\]"),
        ((X,), 0, lambda x: 3.0, "argument 0:"),
        ((X,), 0, lambda x: np.sum(rt.stop_gradient(x)), "argument 0:"),
    ],
)
def test_a_disconnected_argument_is_named_by_its_path_or_given_zeros(budget, args, argnums, loss, path):
    with pytest.raises(rt.DisconnectedError, match=f"does not depend on {path}"):
        rt.grad(loss, argnums, disconnected="error", allow_int=True, memory_budget=budget)(*args)
    zeros = rt.grad(loss, argnums, allow_int=True, memory_budget=budget)(*args)
    assert innermost() is None and zeros is not None


@pytest.mark.parametrize("budget", BUDGETS)
def test_integers_among_the_arguments_are_refused_by_their_path_or_have_zeros(budget):
    p = {"w": X, "n": np.arange(2), "k": 3, "flag": np.array(True)}

    def f(p):
        return np.sum(p["w"]) * p["k"] + p["n"][1]

    with pytest.raises(rt.InputError, match=r"argument 0\['flag'\].*allow_int=True"):
        rt.grad(f, memory_budget=budget)(p)
    found = rt.grad(f, allow_int=True, disconnected="error", memory_budget=budget)(p)
    np.testing.assert_array_equal(found["w"], [3, 3, 3])
    assert found["n"].dtype == p["n"].dtype and not np.any(found["n"]) and found["k"] == 0 and not found["flag"]
    with pytest.raises(rt.InputError, match=r"argument 0\['w'\] is str"):
        rt.grad(f, allow_int=True, memory_budget=budget)({"w": "text"})
    with pytest.raises(ValueError, match="disconnected='ignore' is none of"):
        rt.grad(f, disconnected="ignore", memory_budget=budget)
