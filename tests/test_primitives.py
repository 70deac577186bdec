"""Rules for functions of NumPy's, of somebody else's module and of one's own: primitive, defvjp and defjvp."""

import sys
import types

import numpy as np
import pytest
from test_ops import real

import retape as rt
from retape.runtime import operators
from retape.runtime.op import FUNCTIONS, OPS, RECORDERS, UFUNCS

X, V = real(3), real(3, seed=1)
BUDGETS = [None, "1MiB"]


@pytest.fixture
def restored():
    """Put back the rules of NumPy's functions that a test replaces."""
    tables = (UFUNCS, FUNCTIONS, OPS)
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)
    RECORDERS.clear()
    operators.install()


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.usefixtures("restored")
def test_a_straight_through_gradient_may_be_given_to_floor(budget):
    f = rt.grad(lambda x: np.sum(np.floor(x * 3.0) ** 2), memory_budget=budget)
    assert not np.any(f(X))
    assert rt.defvjp(np.floor, lambda g: g) is np.floor
    np.testing.assert_allclose(f(X), 6 * np.floor(3 * X))
    np.testing.assert_allclose(f(X), 6 * np.floor(3 * X))
    np.testing.assert_allclose(rt.jvp(lambda x: np.floor(x), (X,), (V,))[1], V)
    np.testing.assert_allclose(rt.hvp(lambda x: np.sum(np.floor(x) ** 2), (X,), (V,))[0], 2 * V)
    np.testing.assert_array_equal(np.floor(X), np.floor(X + 0.0))


def test_the_rules_that_a_test_replaced_are_put_back():
    assert not np.any(rt.grad(lambda x: np.sum(np.floor(x)))(X))
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(x * x))(X), 2 * X)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.usefixtures("restored")
def test_a_rule_given_to_multiply_reaches_the_operator_too(budget):
    rt.defvjp(np.multiply, lambda g, b: 10.0 * (g / (1.0 / b)), None)
    for f in (lambda x: np.sum(x * V), lambda x: np.sum(np.multiply(x, V))):
        np.testing.assert_allclose(rt.grad(f, memory_budget=budget)(X), 10 * V)
    assert not np.any(rt.grad(lambda x: np.sum(np.multiply(V, x)), memory_budget=budget)(X))


@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.multiply, np.true_divide, np.power, np.arctan2, np.floor_divide])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.usefixtures("restored")
def test_a_rule_may_be_given_to_one_input_of_any_ufunc_of_two(ufunc, which, budget):
    rules = [None, None]
    rules[which] = lambda g: -3 * g
    rt.defvjp(ufunc, *rules)
    found = rt.grad(lambda a, b: np.sum(ufunc(a, b)), (0, 1), memory_budget=budget)(X**2, V)
    np.testing.assert_array_equal(found[1 - which], np.zeros(3))
    alone = rt.grad(lambda a: np.sum(ufunc(*((a, V) if which == 0 else (V, a)))), memory_budget=budget)(X**2)
    assert [list(found[which]), list(alone)] == [[-3.0] * 3] * 2


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("ufunc", [np.floor, np.sin, np.negative])
@pytest.mark.usefixtures("restored")
def test_a_ufuncs_rule_that_does_not_fit_is_an_error(ufunc, budget):
    rt.defvjp(ufunc, lambda g: np.sum(g))
    with pytest.raises(rt.RuleError, match=r"shape \(\) for an input of shape \(3,\)"):
        rt.grad(lambda x: np.sum(ufunc(x)), memory_budget=budget)(X)


@pytest.mark.usefixtures("restored")
def test_a_forward_rule_given_to_a_ufunc_is_used_forwards_and_the_reverse_rule_stays():
    rt.defjvp(np.sin, lambda t, x: 5.0 * t * np.cos(x))
    np.testing.assert_allclose(rt.jvp(lambda x: np.sin(x), (X,), (V,))[1], 5 * V * np.cos(X))
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(np.sin(x)))(X), np.cos(X))


@pytest.mark.usefixtures("restored")
def test_a_ufunc_with_a_forward_rule_only_says_so_in_reverse_mode():
    rt.defjvp(np.ceil, lambda t: t)
    np.testing.assert_allclose(rt.jvp(lambda x: np.ceil(x), (X,), (V,))[1], V)
    with pytest.raises(rt.RuleError, match="has a forward rule only: give it a reverse rule with retape.defvjp"):
        rt.grad(lambda x: np.sum(np.ceil(x)))(X)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.usefixtures("restored")
def test_a_numpy_function_may_be_given_a_rule(budget):
    rt.defvjp(np.nan_to_num, lambda g, x: 7.0 * g)
    f = rt.grad(lambda x: np.sum(np.nan_to_num(x) ** 2), memory_budget=budget)
    np.testing.assert_allclose(f(X), 14 * X)
    np.testing.assert_allclose(rt.jvp(lambda x: np.nan_to_num(x), (X,), (V,))[1], 7 * V)
    np.testing.assert_array_equal(np.nan_to_num([np.nan, 1.0]), [0.0, 1.0])
    rt.defvjp(np.nan_to_num, lambda g: 3.0 * g)
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(np.nan_to_num(x)), memory_budget=budget)(X), 3 * np.ones(3))


@pytest.fixture
def foreign():
    """A module of somebody else's, whose function computes with what the tape cannot see."""
    module = types.ModuleType("foreign_physics")
    exec(
        "import numpy as np\n"
        "def energy(x, scale, *, power=2):\n"
        "    return np.asarray([scale * float(v) ** power for v in x])\n",
        module.__dict__,
    )
    sys.modules["foreign_physics"] = module
    yield module
    del sys.modules["foreign_physics"]


def give_energy_its_rules(foreign):
    return rt.defvjp(
        foreign.energy,
        lambda g, x, scale, power: g * scale * power * x ** (power - 1),
        lambda g, x, power: np.sum(g * x**power),
    )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("power", [2, 3])
def test_a_function_of_somebody_elses_module_may_be_given_a_rule(foreign, budget, power):
    original = foreign.energy
    made = give_energy_its_rules(foreign)
    assert foreign.energy is made and made.__name__ == "energy"
    np.testing.assert_array_equal(foreign.energy(X, 2.0, power=power), original(X, 2.0, power=power))

    def f(x, scale):
        return np.sum(foreign.energy(x, scale, power=power) ** 2)

    def plain(x, scale):
        return np.sum((scale * x**power) ** 2)

    for _ in range(3):
        by_x, by_scale = rt.grad(f, (0, 1), memory_budget=budget)(X, 2.0)
        np.testing.assert_allclose(by_x, rt.grad(plain)(X, 2.0))
        np.testing.assert_allclose(by_scale, rt.grad(plain, 1)(X, 2.0))
    np.testing.assert_allclose(rt.jvp(f, (X, 2.0), (V, 1.0))[1], rt.jvp(plain, (X, 2.0), (V, 1.0))[1])
    np.testing.assert_allclose(rt.hessian(f)(X, 2.0), rt.hessian(plain)(X, 2.0))
    assert rt.defvjp(made, lambda g: g, None) is made


def test_a_function_that_cannot_be_reached_in_its_module_is_refused():
    for function in (lambda x: x, np.ndarray.sum, X.sum):
        with pytest.raises(rt.RuleError, match="f = retape.primitive"):
            rt.defvjp(function, lambda g: g)
    with pytest.raises(rt.RuleError, match="not for int"):
        rt.defvjp(3, lambda g: g)


@pytest.mark.parametrize(
    ("function", "rules", "message"),
    [
        (np.floor, (), "floor has the inputs x: 1 rules are needed, 0 were given"),
        (np.floor, (lambda g: g, lambda g: g), "1 rules are needed, 2 were given"),
        (np.multiply, (lambda g: g,), "multiply has the inputs a, b: 2 rules are needed, 1 were given"),
        (np.floor, (lambda g, nonsense: g,), "nonsense"),
        (np.multiply, (lambda g, x: g, None), "x"),
        (np.modf, (lambda g: g,), "several outputs"),
    ],
)
@pytest.mark.parametrize("give", [rt.defvjp, rt.defjvp])
def test_rules_of_another_number_or_with_unknown_names_are_refused(give, function, rules, message):
    before = UFUNCS.get(function)
    with pytest.raises(rt.RuleError, match=message):
        give(function, *rules)
    assert UFUNCS.get(function) is before


@rt.primitive
def power(x, exponent=2, *, factor=1.0):
    return factor * np.asarray(x) ** exponent


power.defvjp(lambda g, x, exponent, factor: g * (factor * exponent) * x ** (exponent - 1))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("args", "keywords"), [((), {}), ((3,), {}), ((), {"exponent": 3}), ((3,), {"factor": 0.5})])
def test_static_parameters_reach_a_primitives_rule(budget, args, keywords):
    f = rt.grad(lambda x: np.sum(power(x, *args, **keywords)), memory_budget=budget)
    exponent, factor = (args or (keywords.get("exponent", 2),))[0], keywords.get("factor", 1.0)
    np.testing.assert_allclose(f(X), factor * exponent * X ** (exponent - 1))
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(power(x=x, **keywords)) if not args else np.sum(
        power(x, *args, **keywords)), memory_budget=budget)(X), f(X))  # fmt: skip


def test_a_traced_array_for_a_static_parameter_is_an_error():
    with pytest.raises(rt.RuleError, match="was given a traced array for exponent, a parameter"):
        rt.grad(lambda x: np.sum(power(X, x[0])))(X)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_primitive_may_take_any_number_of_inputs(budget):
    @rt.primitive
    def total(*parts):
        return sum(np.asarray(part).sum() for part in parts)

    total.defvjp(lambda g, position, parts: (position + 1) * g * np.ones_like(parts[position]))
    found = rt.grad(lambda a, b: total(a, b, a), (0, 1), memory_budget=budget)(X, V)
    np.testing.assert_allclose(found[0], 4 * np.ones(3))
    np.testing.assert_allclose(found[1], 2 * np.ones(3))


def test_a_primitive_may_say_the_shape_of_its_output():
    calls = []

    @rt.primitive(infer=lambda x: np.empty(2 * x.size, x.dtype))
    def twice(x):
        calls.append(x.copy())
        return np.concatenate([x, x])

    twice.defvjp(lambda g: g[: g.size // 2] + g[g.size // 2 :])
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(twice(x) ** 2), memory_budget="1MiB")(X), 4 * X)
    assert all(np.array_equal(x, X) for x in calls)  # never run on ones, to find the shape


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda g: np.ones(2), "shape"),
        (lambda g: [g, g], "returned list, not a cotangent"),
        (lambda g: "text", "returned str, not"),
        (lambda g: None, "returned NoneType, not"),
        (lambda g: (g * 1.0).astype(np.float32), "dtype float32 for an input of dtype float64, with fewer digits"),
        (lambda g: g * 1j, "dtype complex128 for an input of dtype float64"),
    ],
)
def test_a_primitives_rule_that_does_not_fit_is_an_error(rule, message, budget):
    f = rt.primitive(lambda x: x * 1.0).defvjp(rule)
    with pytest.raises(rt.RuleError, match=message):
        rt.grad(lambda x: np.sum(f(x)), memory_budget=budget)(X)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_rules_result_of_more_digits_is_cast_and_a_python_number_is_of_any(budget):
    x = np.float32([0.5, 1.0])
    doubled = rt.primitive(lambda x: x * np.float32(2)).defvjp(lambda g: g * np.array([2.0, 2.0]))
    number = rt.primitive(lambda x: np.floor(x)).defvjp(lambda g: 0.0)
    assert rt.grad(lambda x: np.sum(doubled(x)), memory_budget=budget)(x).dtype == np.float32
    assert rt.grad(number, memory_budget=budget)(np.float32(3.0)).dtype == np.float32
    nothing = rt.primitive(lambda x: np.floor(x)).defvjp(lambda g: np.zeros(2, np.float32))
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(nothing(np.sin(x)) + x), memory_budget=budget)(x), [1.0, 1.0])


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_primitive_that_returns_no_array_is_an_error(budget):
    f = rt.primitive(lambda x: [x, x]).defvjp(lambda g: g)
    with pytest.raises(rt.RuleError, match="returned list: a primitive returns one array or number"):
        rt.grad(lambda x: np.sum(f(x)), memory_budget=budget)(X)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_primitive_with_views_complex_numbers_and_methods(budget):
    class Model:
        scale = 3.0

        @rt.primitive
        def turned(self, x):
            return x[::-1]

    Model.turned.defvjp(None, lambda g: g[::-1])
    weights = np.arange(3.0)
    model = Model()
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(model.turned(x) * weights), memory_budget=budget)(X), weights[::-1])
    spun = rt.primitive(lambda z: 1j * z).defvjp(lambda g: 1j * g)
    z = X + 1j * V
    found = rt.grad(lambda z: np.sum(np.real(spun(z))), memory_budget=budget)(z)
    np.testing.assert_allclose(found, np.full(3, 1j))
