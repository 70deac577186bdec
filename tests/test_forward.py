"""Forward mode and what is built of it: jvp, linearize, jacobian, hessian, hvp against closed forms and one another."""

import dataclasses
from collections import namedtuple

import numpy as np
import pytest
from test_ops import positive, real

import retape as rt

Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: np.ndarray
    bias: float


X, V, A = real(3), real(3, seed=1), real(3, 3, seed=2)

PUSHED = {
    "sin": (np.sin, X, V, np.cos(X) * V),
    "a product": (lambda x: x * x[::-1], X, V, V * X[::-1] + X * V[::-1]),
    "a matrix product": (lambda x: A @ x, X, V, A @ V),
    "a quadratic form": (lambda x: x @ A @ x, X, V, V @ A @ X + X @ A @ V),
    "an inverse": (np.linalg.inv, A, np.eye(3), -np.linalg.inv(A) @ np.linalg.inv(A)),
    "a loop of writes": (lambda x: cubes(x), X, V, 3 * X**2 * V),
    "a maximum": (np.max, np.array([1.0, 5.0, 2.0]), V, V[1]),
    "a norm": (np.linalg.norm, X, V, X @ V / np.linalg.norm(X)),
    "a cumulative product": (np.cumprod, np.array([2.0, 3.0]), np.array([1.0, 1.0]), np.array([1.0, 5.0])),
    "a number": (lambda x: 1 / x, 4.0, 2.0, -0.125),
    "a holomorphic function": (np.exp, X + 1j * V, 1j * X, np.exp(X + 1j * V) * 1j * X),
    "the conjugate": (np.conj, X + 1j * V, 1j * X, -1j * X),
    "the modulus": (np.abs, np.array([3 + 4j]), np.array([1j]), np.array([0.8])),
    "an empty array": (np.sin, np.zeros((0, 2)), np.ones((0, 2)), np.zeros((0, 2))),
}


def cubes(x):
    y = np.zeros_like(x)
    for k in range(len(x)):
        y[k] = x[k] ** 3
    return y


@pytest.mark.parametrize("name", PUSHED)
def test_a_tangent_equals_its_closed_form(name):
    f, x, t, expected = PUSHED[name]
    y, tangent = rt.jvp(f, (x,), (t,))
    np.testing.assert_array_equal(y, f(x))
    np.testing.assert_allclose(tangent, expected, rtol=1e-12)
    assert np.shape(tangent) == np.shape(expected) and np.asarray(tangent).dtype == np.asarray(y).dtype


@pytest.mark.parametrize("name", PUSHED)
def test_a_linearization_gives_the_same_tangents_as_often_as_it_is_called(name):
    f, x, t, expected = PUSHED[name]
    y, push = rt.linearize(f, x)
    np.testing.assert_array_equal(y, f(x))
    for factor in (1.0, -2.0, 0.0, 1.0):
        np.testing.assert_allclose(push(np.multiply(t, factor)), factor * expected, rtol=1e-11, atol=1e-14)


def test_containers_go_in_and_come_out():
    p = {"layer": Layer(X, 2.0), "pair": Pair(V, [A, None])}
    t = {"layer": Layer(V, 1.0), "pair": Pair(X, [np.eye(3), None])}

    def f(p):
        return Pair(p["layer"].weight * p["layer"].bias, {"m": p["pair"].right[0] @ p["pair"].left})

    y, tangent = rt.jvp(f, (p,), (t,))
    linear = rt.linearize(f, p)[1](t)
    for found in (tangent, linear):
        assert type(found) is Pair
        np.testing.assert_allclose(found.left, 2.0 * V + X)
        np.testing.assert_allclose(found.right["m"], V + A @ X)
    np.testing.assert_array_equal(y.right["m"], A @ V)


def test_a_dataclass_may_be_the_output():
    y, t = rt.jvp(lambda x: Layer(x * x, np.sum(x)), (X,), (V,))
    assert type(y) is type(t) is Layer
    np.testing.assert_allclose(t.weight, 2 * X * V)
    np.testing.assert_allclose(t.bias, np.sum(V))


def test_auxiliary_output_is_passed_on_as_plain_values():
    y, t, aux = rt.jvp(lambda x: (x * x, {"twice": 2 * x, "name": "aux"}), (X,), (V,), has_aux=True)
    assert aux["name"] == "aux" and type(aux["twice"]) is np.ndarray
    np.testing.assert_allclose(t, 2 * X * V)
    np.testing.assert_array_equal(y, X * X)
    with pytest.raises(rt.InputError, match="has_aux=True needs"):
        rt.jvp(np.sin, (X,), (V,), has_aux=True)


def test_integer_tangents_take_the_dtype_of_their_primal():
    _, t = rt.jvp(lambda x: 3 * x, (np.float32([1, 2]),), (np.array([1, -1]),))
    assert t.dtype == np.float32
    np.testing.assert_array_equal(t, [3, -3])
    _, t = rt.jvp(lambda x: 1j * x, (np.complex64([1, 2]),), (np.array([1.0, 2.0]),))
    assert t.dtype == np.complex64
    np.testing.assert_array_equal(t, [1j, 2j])
    assert rt.jvp(lambda x: 3 * x, (2.0,), (1,))[1] == 3.0


@pytest.mark.parametrize("f", [np.sin, lambda x: 2 * x + 1, lambda x: np.mean(x), lambda x: x / x.sum(), np.linalg.norm])
def test_single_precision_stays_single(f):
    x = np.float32([0.5, 1.5])
    y, t = rt.jvp(f, (x,), (np.ones(2),))
    assert y.dtype == t.dtype == np.float32
    assert rt.linearize(f, x)[1](np.ones(2)).dtype == np.float32
    assert rt.jacobian(f)(x).dtype == np.float32


@pytest.mark.parametrize("f", [lambda x: np.ones(2), lambda x: rt.stop_gradient(x), np.floor, lambda x: 3.0, lambda x: 3])
def test_an_output_that_does_not_depend_on_the_input_has_a_tangent_of_zeros(f):
    y, t = rt.jvp(f, (positive(2),), (np.ones(2),))
    assert np.shape(t) == np.shape(y) and not np.any(t)


def test_outputs_that_depend_and_outputs_that_do_not_stand_side_by_side():
    y, t = rt.jvp(lambda x: (x, 1.0, np.arange(2), np.argmax(x), x > 0), (X,), (V,))
    np.testing.assert_array_equal(t[0], V)
    assert t[1] == 0 and t[3] == 0 and not np.any(t[4])
    np.testing.assert_array_equal(t[2], [0, 0])
    assert type(y[4]) is np.ndarray


@pytest.mark.parametrize(
    ("primals", "tangents", "message"),
    [
        ((X,), (np.ones(2),), r"a tangent has shape \(2,\), its primal \(3,\)"),
        ((X,), (1.0,), "a tangent has shape"),
        ((X,), (), "the tangent has 0 leaves, the primal 1"),
        ((X, X), (V,), "the tangent has 1 leaves, the primal 2"),
        (({"a": X},), ({"b": V},), "the tangent is built as"),
        (([X],), ((V,),), "the tangent is built as"),
        ((X,), (V * 1j,), "a tangent is complex"),
        ((X,), (np.array(["a", "b", "c"]),), "not an array of numbers"),
        ((np.arange(3),), (V,), "int64, which has no derivative"),
        ((), (), "primals holds no arrays"),
    ],
)
def test_primals_and_tangents_that_do_not_fit_are_refused(primals, tangents, message):
    with pytest.raises(rt.InputError, match=message):
        rt.jvp(lambda *args: 1.0, primals, tangents)


def test_a_linearization_works_inside_other_transforms():
    _, push = rt.linearize(lambda x: x**2, X)
    np.testing.assert_allclose(rt.grad(lambda t: np.sum(push(t) ** 2))(V), 8 * X**2 * V)
    np.testing.assert_allclose(rt.jvp(push, (V,), (A[0],))[1], 2 * X * A[0])
    outer = rt.grad(lambda x: np.sum(rt.linearize(lambda y: y**3, x)[1](V)))
    np.testing.assert_allclose(outer(X), 6 * X * V)
    _, tangent = rt.jvp(lambda x: rt.linearize(np.sin, x)[1](V), (X,), (V,))
    np.testing.assert_allclose(tangent, -np.sin(X) * V * V)


def test_whole_numbers_among_the_outputs_have_zeros_in_every_mode():
    def f(x):
        return x * 2, np.argmax(x), 1, x > 0

    for t in (rt.jvp(f, (X,), (V,))[1], rt.linearize(f, X)[1](V)):
        np.testing.assert_array_equal(t[0], 2 * V)
        assert t[1] == 0 and t[2] == 0 and not np.any(t[3]) and t[3].dtype == bool
    for mode in ("auto", "forward", "reverse"):
        made = rt.jacobian(f, mode=mode)(X)
        np.testing.assert_array_equal(made[0], 2 * np.eye(3))
        assert [m.shape for m in made[1:]] == [(3,), (3,), (3, 3)] and not any(np.any(m) for m in made[1:])
    assert rt.linearize(np.argmax, X)[1](V) == 0
    with pytest.raises(rt.InputError, match="has shape"):
        rt.linearize(np.sin, X)[1](np.ones(2))


def test_a_linearization_takes_several_arguments():
    y, push = rt.linearize(lambda a, b: {"p": a * b, "s": np.sum(a)}, X, 2.0)
    t = push(V, 1.0)
    np.testing.assert_allclose(t["p"], V * 2 + X)
    np.testing.assert_allclose(t["s"], np.sum(V))
    np.testing.assert_array_equal(y["p"], 2 * X)


def wide(x):
    return np.stack([np.sin(x), x**2, np.cumsum(x), x * x[::-1]])


def narrow(x):
    return np.stack([x[0] * x[1], np.sum(np.exp(x))])


def scalar(x):
    return np.prod(x) + np.sum(np.tanh(x))


def differences(f, x, step=1e-6):
    columns = []
    for k in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[k] = step
        columns.append((np.asarray(f(x + move)) - f(x - move)) / (2 * step))
    return np.moveaxis(np.reshape(columns, x.shape + np.shape(columns[0])), range(x.ndim), range(-x.ndim, 0))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize(
    ("f", "x"),
    [(wide, X), (narrow, X), (scalar, X), (np.linalg.inv, A), (lambda a: a.sum(0) ** 2, A), (np.sin, np.array(0.5))],
)
def test_a_jacobian_agrees_with_finite_differences_in_every_mode(f, x, mode):
    found = rt.jacobian(f, mode=mode)(x)
    assert found.shape == np.shape(f(x)) + x.shape
    np.testing.assert_allclose(found, differences(f, x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_a_jacobian_of_containers_nests_the_output_outside(mode):
    def f(p, scale):
        return {"y": p["a"] * scale, "z": (np.sum(p["b"]) * p["a"][0], scale)}

    made = rt.jacobian(f, (0, 1), mode=mode)({"a": X, "b": A}, 2.0)
    by_p, by_scale = made["y"]
    np.testing.assert_allclose(by_p["a"], 2 * np.eye(3))
    np.testing.assert_array_equal(by_p["b"], np.zeros((3, 3, 3)))
    np.testing.assert_allclose(by_scale, X)
    by_p, by_scale = made["z"][0]
    np.testing.assert_allclose(by_p["b"], np.full((3, 3), X[0]))
    np.testing.assert_allclose(by_p["a"], [A.sum(), 0, 0])
    assert by_scale == 0 and made["z"][1][1] == 1 and not np.any(made["z"][1][0]["a"])


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_a_jacobian_of_or_by_an_empty_array_is_empty(mode):
    assert rt.jacobian(np.sin, mode=mode)(np.zeros(0)).shape == (0, 0)
    assert rt.jacobian(lambda x: x[:0], mode=mode)(X).shape == (0, 3)
    assert rt.jacobian(lambda x: np.ones(2) * np.sum(x), mode=mode)(np.zeros((0, 2))).shape == (2, 0, 2)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_a_jacobian_has_zeros_where_an_output_is_a_constant(mode):
    np.testing.assert_array_equal(rt.jacobian(lambda x: np.ones(2), mode=mode)(X), np.zeros((2, 3)))
    np.testing.assert_array_equal(rt.jacobian(lambda x: 3.0, mode=mode)(X), np.zeros(3))
    np.testing.assert_array_equal(rt.jacobian(np.floor, mode=mode)(X), np.zeros((3, 3)))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_a_jacobian_passes_keywords_other_arguments_and_auxiliary_output(mode):
    def f(name, x, *, scale):
        return x * scale, {"name": name, "x": x}

    made, aux = rt.jacobian(f, 1, mode=mode, has_aux=True)("aux", X, scale=3.0)
    np.testing.assert_allclose(made, 3 * np.eye(3))
    assert aux["name"] == "aux" and type(aux["x"]) is np.ndarray
    (only,) = rt.jacobian(f, [-1], mode=mode, has_aux=True)("aux", X, scale=3.0)[0]
    np.testing.assert_allclose(only, 3 * np.eye(3))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_a_jacobian_of_a_holomorphic_function_is_its_complex_derivative(mode):
    z = X + 1j * V
    np.testing.assert_allclose(rt.jacobian(np.exp, mode=mode)(z), np.diag(np.exp(z)))


@pytest.mark.parametrize("outer", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("inner", ["auto", "forward", "reverse"])
def test_jacobians_nest(outer, inner):
    second = rt.jacobian(rt.jacobian(lambda x: x**3, mode=inner), mode=outer)(X)
    expected = np.zeros((3, 3, 3))
    expected[range(3), range(3), range(3)] = 6 * X
    np.testing.assert_allclose(second, expected)


def test_a_jacobian_refuses_integers_unknown_modes_and_missing_arguments():
    with pytest.raises(rt.InputError, match="no derivative"):
        rt.jacobian(np.sin)(np.arange(3))
    with pytest.raises(ValueError, match="mode='sideways' is none of"):
        rt.jacobian(np.sin, mode="sideways")
    with pytest.raises(rt.InputError, match="argument 2"):
        rt.jacobian(np.sin, 2)(X)


def test_a_hessian_of_several_arguments_has_a_block_per_pair():
    def f(a, b):
        return np.sum(a**2 * b["c"]) * b["d"]

    blocks = rt.hessian(f, (0, 1))(X, {"c": V, "d": 2.0})
    np.testing.assert_allclose(blocks[0][0], np.diag(4 * V))
    np.testing.assert_allclose(blocks[0][1]["c"], np.diag(4 * X))
    np.testing.assert_allclose(blocks[0][1]["d"], 2 * X * V)
    np.testing.assert_allclose(blocks[1]["c"][0], np.diag(4 * X))
    np.testing.assert_allclose(blocks[1]["d"][1]["c"], X**2)
    assert blocks[1]["d"][1]["d"] == 0 and not np.any(blocks[1]["c"][1]["c"])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: np.sum(x**3), np.diag(6 * X)),
        (lambda x: x @ A @ x, A + A.T),
        (lambda x: np.sum(x), np.zeros((3, 3))),
        (lambda x: 3.0, np.zeros((3, 3))),
        (lambda x: x @ x * x[0], None),
        (lambda x: np.linalg.norm(x), None),
    ],
)
def test_a_hessian_equals_its_closed_form_and_its_products(f, expected):
    found = rt.hessian(f)(X)
    if expected is not None:
        np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(found, differences(rt.grad(f), X), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rt.hvp(f, (X,), (V,))[0], found @ V, rtol=1e-11, atol=1e-13)


def test_a_hessian_product_of_several_arguments_mixes_their_blocks():
    def f(a, p):
        return np.sum(a**2 * p["b"])

    by_a, by_p = rt.hvp(f, (X, {"b": V}), (V, {"b": X}))
    np.testing.assert_allclose(by_a, 2 * V * V + 2 * X * X)
    np.testing.assert_allclose(by_p["b"], 2 * X * V)
    with pytest.raises(rt.InputError, match="at least one argument"):
        rt.hvp(f, (), ())
    with pytest.raises(rt.InputError, match="needs a scalar"):
        rt.hvp(np.sin, (X,), (V,))


def f(x):
    return np.sin(x) * np.exp(x / 2)


def derivative(order, x):
    """Of sin(x) exp(x/2), the imaginary part of exp((1/2 + i) x)."""
    return float(np.imag((0.5 + 1j) ** order * np.exp((0.5 + 1j) * x)))


def forward(g):
    return lambda x: rt.jvp(g, (x,), (1.0,))[1]


def backward(g):
    return lambda x: rt.vjp(g, x)[1](1.0)[0]


def linear(g):
    return lambda x: rt.linearize(g, x)[1](1.0)


MODES = {"forward": forward, "backward": backward, "grad": rt.grad, "linear": linear, "jacobian": rt.jacobian}


@pytest.mark.parametrize("second", MODES)
@pytest.mark.parametrize("first", MODES)
def test_every_mode_of_every_mode_gives_the_second_derivative(first, second):
    assert MODES[second](MODES[first](f))(0.7) == pytest.approx(derivative(2, 0.7), rel=1e-12)


@pytest.mark.parametrize("third", ["forward", "backward"])
@pytest.mark.parametrize("second", ["forward", "backward", "linear"])
@pytest.mark.parametrize("first", ["forward", "backward"])
def test_three_modes_in_any_order_give_the_third_derivative(first, second, third):
    made = MODES[third](MODES[second](MODES[first](f)))
    assert made(0.7) == pytest.approx(derivative(3, 0.7), rel=1e-12)
