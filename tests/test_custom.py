"""Derivatives of the user's own: custom_vjp, custom_jvp, primitive, defvjp and defjvp in every mode and under a budget."""

from collections import namedtuple

import numpy as np
import pytest
from test_ops import real

import retape as rt

X, V = real(3), real(3, seed=1)
Pair = namedtuple("Pair", ["left", "right"])


@rt.custom_vjp
def sine(x):
    return np.sin(x)


sine.defvjp(lambda x: (np.sin(x), {"cos": np.cos(x)}), lambda kept, g: (g * kept["cos"],))


@rt.custom_jvp
def pushed_sine(x):
    return np.sin(x)


pushed_sine.defjvp(lambda primals, tangents: (np.sin(primals[0]), tangents[0] * np.cos(primals[0])))


@rt.primitive
def opaque_sine(x):
    return np.asarray([np.sin(v) for v in np.ravel(x)], x.dtype).reshape(np.shape(x))


opaque_sine.defvjp(lambda g, x: g * np.cos(x))


@rt.primitive
def pushed_opaque_sine(x):
    return np.sin(np.asarray(x))


pushed_opaque_sine.defvjp(lambda g, x: np.cos(x) * g)
pushed_opaque_sine.defjvp(lambda t, x: t * np.cos(x))

SINES = {"vjp": sine, "jvp": pushed_sine, "primitive": opaque_sine, "primitive with both": pushed_opaque_sine}


def steps(f):
    def run(x):
        y = x
        for _ in range(4):
            y = f(y * 1.1) + 0.1 * x
        return np.sum(y * y)

    return run


MODES = {
    "grad": rt.grad,
    "jvp": lambda f: lambda x: rt.jvp(f, (x,), (V,))[1],
    "linearize": lambda f: lambda x: rt.linearize(f, x)[1](V),
    "hvp": lambda f: lambda x: rt.hvp(f, (x,), (V,))[0],
    "hessian": rt.hessian,
    "jacobian of grad": lambda f: rt.jacobian(rt.grad(f), mode="reverse"),
    "third order": lambda f: rt.jacobian(lambda x: rt.hvp(f, (x,), (V,))[0], mode="reverse"),
    "third order backwards": lambda f: rt.grad(lambda x: np.sum(rt.grad(lambda x: np.sum(rt.grad(f)(x) * V))(x) * V)),
    "third order forwards": lambda f: (
        lambda x: rt.jvp(lambda x: rt.jvp(lambda x: rt.jvp(f, (x,), (V,))[1], (x,), (V,))[1], (x,), (V,))[1]
    ),
    "checkpoint": lambda f: rt.grad(rt.checkpoint(f)),
    "grad of checkpoint of grad": lambda f: rt.grad(lambda x: np.sum(rt.grad(rt.checkpoint(lambda y: f(y) ** 2))(x) * V)),
    "hessian of checkpoint": lambda f: rt.hessian(rt.checkpoint(f)),
    "budget": lambda f: rt.grad(f, memory_budget="1MiB"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SINES)
def test_a_given_rule_is_what_the_found_one_would_be_in_every_mode(name, mode):
    expected = MODES[mode](steps(np.sin))(X)
    np.testing.assert_allclose(MODES[mode](steps(SINES[name]))(X), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SINES)
def test_a_budget_changes_no_bit_in_three_calls(name):
    f = steps(SINES[name])
    x = np.linspace(0.1, 2.0, 2000)
    value, gradient = rt.value_and_grad(f)(x)
    for budget in ("10MiB", "200KiB", "150KiB"):
        within = rt.value_and_grad(f, memory_budget=budget)
        for _ in range(3):
            found = within(x)
            assert found[0] == value
            np.testing.assert_array_equal(found[1], gradient)


@pytest.mark.parametrize("name", SINES)
def test_single_precision_stays_single_and_plain_calls_stay_plain(name):
    x = np.float32([0.5, 1.0])
    f = SINES[name]
    assert type(f(x)) is np.ndarray
    np.testing.assert_allclose(f(x), np.sin(x), rtol=1e-6)
    assert rt.grad(lambda x: np.sum(f(x)))(x).dtype == np.float32
    assert rt.jvp(f, (x,), (x,))[1].dtype == np.float32
    assert rt.grad(lambda x: np.sum(f(x)), memory_budget="1MiB")(x).dtype == np.float32


def clipped(mark):
    """A function whose given derivative is not its own, so that a test sees which of them was used: 7 for 1."""

    @mark
    def passed(x):
        return x * 1.0

    if mark is rt.custom_vjp:
        passed.defvjp(lambda x: (x * 1.0, None), lambda _, g: (7.0 * g,))
    elif mark is rt.custom_jvp:
        passed.defjvp(lambda primals, tangents: (primals[0] * 1.0, 7.0 * tangents[0]))
    else:
        passed.defvjp(lambda g: 7.0 * g)
    return passed


@pytest.mark.parametrize("mark", [rt.custom_vjp, rt.custom_jvp, rt.primitive])
def test_the_given_rule_is_used_at_every_level_and_in_every_mode(mark):
    f = clipped(mark)

    def square(x):
        return np.sum(f(x) ** 2)

    np.testing.assert_allclose(rt.grad(square)(X), 14 * X)
    np.testing.assert_allclose(rt.grad(square, memory_budget="1MiB")(X), 14 * X)
    np.testing.assert_allclose(rt.grad(rt.checkpoint(square))(X), 14 * X)
    np.testing.assert_allclose(rt.jvp(f, (X,), (V,))[1], 7 * V)
    np.testing.assert_allclose(rt.hessian(square)(X), 98 * np.eye(3))
    np.testing.assert_allclose(rt.jacobian(rt.grad(square), mode="reverse")(X), 98 * np.eye(3))
    second = rt.jvp(lambda x: rt.jvp(square, (x,), (V,))[1], (X,), (V,))[1]
    np.testing.assert_allclose(second, 98 * V @ V)
    np.testing.assert_allclose(rt.grad(lambda x: rt.jvp(square, (x,), (V,))[1])(X), 98 * V)
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(rt.grad(square)(x)), memory_budget="1MiB")(X), 98 * np.ones(3))


def scaled(mark):
    @mark
    def f(x, power, *, names=("a",)):
        return Pair(x["v"] ** power, {"sum": np.sum(x["w"]) * len(names), "power": power})

    if mark is rt.custom_vjp:
        f.defvjp(
            lambda x, power, *, names=("a",): (f.function(x, power, names=names), (x, [power, None], len(names))),
            lambda kept, g: (
                {
                    "v": g.left * kept[1][0] * kept[0]["v"] ** (kept[1][0] - 1),
                    "w": g.right["sum"] * np.ones_like(kept[0]["w"]) * kept[2],
                },
                None,
            ),
        )
    else:
        f.defjvp(
            lambda primals, tangents: (
                f.function(*primals),
                Pair(
                    tangents[0]["v"] * primals[1] * primals[0]["v"] ** (primals[1] - 1),
                    {"sum": np.sum(tangents[0]["w"]), "power": 0},
                ),
            )
        )
    return f


@pytest.mark.parametrize("mark", [rt.custom_vjp, rt.custom_jvp])
@pytest.mark.parametrize("mode", ["grad", "budget", "jvp", "hessian", "checkpoint"])
def test_containers_static_arguments_and_trees_of_residuals_go_through(mark, mode):
    f = scaled(mark)

    def loss(f):
        def run(x):
            y = f(x, 3)
            assert type(y) is Pair and y.right["power"] == 3
            return np.sum(y.left) * y.right["sum"]

        return run

    p = {"v": X, "w": V}
    made = {
        "grad": rt.grad, "budget": lambda f: rt.grad(f, memory_budget="1MiB"), "hessian": rt.hessian,
        "checkpoint": lambda f: rt.grad(rt.checkpoint(f)),
        "jvp": lambda f: lambda x: {"v": {"t": rt.jvp(f, (x,), (x,))[1]}},
    }[mode]  # fmt: skip
    found, expected = made(loss(f))(p), made(loss(f.function))(p)
    for a, b in zip(flat(found), flat(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def flat(tree):
    return [leaf for value in tree.values() for leaf in flat(value)] if isinstance(tree, dict) else [tree]


@pytest.mark.parametrize("budget", [None, "1MiB"])
def test_keywords_reach_the_forward_function(budget):
    f = scaled(rt.custom_vjp)
    found = rt.grad(lambda x: f(x, 2, names=("a", "b")).right["sum"], memory_budget=budget)({"v": X, "w": V})
    np.testing.assert_array_equal(found["w"], [2, 2, 2])
    np.testing.assert_array_equal(found["v"], np.zeros(3))


class Layer:
    def __init__(self, scale):
        self.scale = scale

    @rt.custom_vjp
    def up(self, x):
        return self.scale * x

    up.defvjp(lambda self, x: (self.scale * x, self.scale), lambda scale, g: (None, 10 * scale * g))

    @rt.custom_jvp
    def down(self, x):
        return x / self.scale

    down.defjvp(lambda primals, tangents: (primals[1] / primals[0].scale, 10 * tangents[1] / primals[0].scale))


@pytest.mark.parametrize("budget", [None, "1MiB"])
def test_rules_of_methods_are_used(budget):
    layer = Layer(2.0)
    for method, factor in ((layer.up, 20), (layer.down, 5)):
        for f in (lambda x, m=method: np.sum(m(x)), rt.checkpoint(lambda x, m=method: np.sum(m(x)))):
            np.testing.assert_allclose(rt.grad(f, memory_budget=budget)(X), factor * np.ones(3))
        np.testing.assert_allclose(rt.jvp(method, (X,), (V,))[1], factor * V)


WRONG = {
    "a shape": (
        lambda _, g: (np.ones(2), g),
        r"rule of .*product \(test_custom\.py:\d+\) returned a cotangent of shape \(2,\) for argument 0, .* shape is \(3,\)",
    ),
    "a complex number for a real one": (lambda _, g: (g * 1j, g), "dtype complex128 for argument 0 of dtype float64"),
    "fewer digits": (
        lambda _, g: ((g * 1.0).astype(np.float32), g),
        "dtype float32 for argument 0 of dtype float64, with fewer digits: compute it in float64",
    ),
    "a text": (lambda _, g: (np.array(["a", "b", "c"]), g), "of dtype <U1 for argument 0"),
    "too few": (lambda _, g: (g,), "returned 1, not a tuple of 2 cotangents"),
    "too many": (lambda _, g: (g, g, g), "returned 3, not a tuple of 2 cotangents"),
    "no tuple": (lambda _, g: g, "not a tuple of 2 cotangents"),
    "a list": (lambda _, g: [g, g], "returned list, not a tuple of 2 cotangents"),
    "a container for an array": (lambda _, g: ([g, g], g), "a cotangent with 2 leaves for an argument with 1"),
}


@pytest.mark.parametrize("mode", ["grad", "budget", "jvp", "checkpoint"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_backward_function_that_does_not_fit_is_an_error(wrong, mode):
    backward, message = WRONG[wrong]

    @rt.custom_vjp
    def product(a, b):
        return a * b

    product.defvjp(lambda a, b: (a * b, None), backward)

    def f(x):
        return np.sum(product(x, x))

    run = {"grad": rt.grad, "budget": lambda f: rt.grad(f, memory_budget="1MiB"), "checkpoint": lambda f: rt.grad(
        rt.checkpoint(f)), "jvp": lambda f: lambda x: rt.jvp(f, (x,), (x,))}[mode]  # fmt: skip
    with pytest.raises(rt.RuleError, match=message):
        run(f)(X)


WRONG_PUSHED = {
    "a shape": (lambda p, t: (p[0] * 1.0, np.ones(2)), r"shape \(2,\) for output 0"),
    "a complex number": (lambda p, t: (p[0] * 1.0, t[0] * 1j), "dtype complex128 for output 0"),
    "fewer digits": (lambda p, t: (p[0] * 1.0, t[0].astype(np.float32)), "dtype float32 for output 0 .* fewer digits"),
    "no pair": (lambda p, t: p[0], r"must return \(output, tangent\)"),
    "another number of outputs": (lambda p, t: (p[0] * 1.0, [t[0], t[0]]), "returned 2 tangents for 1 outputs"),
}


@pytest.mark.parametrize("mode", ["grad", "budget", "jvp", "checkpoint"])
@pytest.mark.parametrize("wrong", WRONG_PUSHED)
def test_a_forward_rule_that_does_not_fit_is_an_error(wrong, mode):
    rule, message = WRONG_PUSHED[wrong]
    passed = rt.custom_jvp(lambda x: x * 1.0)
    passed.defjvp(rule)

    def f(x):
        return np.sum(passed(x))

    run = {"grad": rt.grad, "budget": lambda f: rt.grad(f, memory_budget="1MiB"), "checkpoint": lambda f: rt.grad(
        rt.checkpoint(f)), "jvp": lambda f: lambda x: rt.jvp(f, (x,), (x,))}[mode]  # fmt: skip
    with pytest.raises(rt.RuleError, match=message):
        run(f)(X)


@pytest.mark.parametrize("budget", [None, "1MiB"])
@pytest.mark.parametrize("mark", [rt.custom_vjp, rt.custom_jvp, rt.primitive])
def test_a_function_without_its_rule_says_how_to_give_it_one(mark, budget):
    @mark
    def bare(x):
        return x * 1.0

    np.testing.assert_array_equal(bare(X), X)
    with pytest.raises(rt.RuleError, match="has no rule yet: call .*bare.*def[vj]"):
        rt.grad(lambda x: np.sum(bare(x)), memory_budget=budget)(X)
    with pytest.raises(rt.RuleError, match="has no rule yet"):
        rt.jvp(bare, (X,), (X,))


def test_a_forward_function_must_return_a_pair():
    f = rt.custom_vjp(lambda x: x)
    f.defvjp(lambda x: x, lambda _, g: (g,))
    with pytest.raises(rt.RuleError, match=r"must return \(output, residuals\)"):
        rt.grad(lambda x: np.sum(f(x)))(X)
