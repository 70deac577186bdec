"""Transforms: control flow, containers, nesting, checkpoint, threads, and random programs."""

import dataclasses
import threading
import tracemalloc
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops import distinct, positive, real

import retape as rt


def loop(x):
    y = x
    for k in range(5):
        y = np.sin(y) + k * x
    return np.sum(y)


def branch(x):
    return np.sum(x**2) if np.sum(x) > 0 else np.sum(np.exp(x))


def while_loop(x):
    y = x * 1.0
    while np.max(np.abs(y)) < 10:
        y = 1.7 * y + 0.1 * np.sin(y)
    return np.sum(y * y)


def recursion(x):
    if len(x) == 1:
        return np.sin(x[0])
    middle = len(x) // 2
    return recursion(x[:middle]) * recursion(x[middle:]) + x[0]


def python_lists(x):
    terms = [x[0]]
    for number in x:
        terms.append(terms[-1] * number + 1)
    return sum(terms) + rt.numpy.array(terms).max()


def newton(x):
    root = np.ones_like(x)
    for _ in range(6):
        root = 0.5 * (root + x**2 / root)
    return np.sum(root)


def closure(x):
    scale = np.sum(x)

    def inner(y):
        return y * scale

    return np.sum(inner(inner(x)))


def comprehension_and_unpacking(x):
    first, *rest = x
    return first * sum(r * r for r in reversed(rest))


@pytest.mark.parametrize(
    "f", [loop, branch, while_loop, recursion, python_lists, newton, closure, comprehension_and_unpacking]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_control_flow_differentiates_the_path_that_was_taken(f, sign):
    x = sign * np.array([0.4, 0.9, -0.3])
    assert rt.value_and_grad(f)(x)[0] == f(x)
    rt.check_grads(f, x, order=2, tolerance=1e-5)


Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass
class Layer:
    weight: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Model:
    layers: tuple
    scale: float


def tree():
    return {
        "zebra": real(2, 3),
        "ant": [real(3), (real(2), None), Pair(1.5, np.float32([1.0, 2.0]))],
        "model": Model((Layer(real(2, 2), real(2)), Layer(real(1, 2), real(1))), 2.0),
        "ordered": OrderedDict(b=np.ones(1), a=np.ones(2)),
    }


def tree_loss(t):
    x = t["zebra"].sum() * t["model"].scale + t["ant"][0] @ t["zebra"][0] + t["ant"][1][0].sum()
    for layer in t["model"].layers:
        x = x * np.sum(layer.weight) + np.sum(layer.bias)
    return x + t["ant"][2].left * t["ant"][2].right.sum() + t["ordered"]["a"].sum() * t["ordered"]["b"].sum()


def test_containers_keep_their_types_their_order_and_their_dtypes():
    t = tree()
    g = rt.grad(tree_loss)(t)
    assert list(g) == ["zebra", "ant", "model", "ordered"]
    assert list(g["ordered"]) == ["b", "a"] and type(g["ordered"]) is OrderedDict
    assert type(g["ant"]) is list and type(g["ant"][1]) is tuple and g["ant"][1][1] is None
    assert type(g["ant"][2]) is Pair and g["ant"][2].right.dtype == np.float32
    assert type(g["model"]) is Model and type(g["model"].layers[0]) is Layer
    assert np.shape(g["model"].scale) == () and g["model"].layers[1].weight.shape == (1, 2)
    np.testing.assert_allclose(g["ordered"]["a"], [1.0, 1.0])


def test_gradients_in_containers_agree_with_finite_differences():
    t = tree()
    t["ant"][2] = Pair(1.5, real(2))
    rt.check_grads(tree_loss, t, order=2)


@dataclasses.dataclass
class Dense:
    weight: np.ndarray
    activation: object = np.tanh
    name: str = "dense"
    heads: int = dataclasses.field(default=2, metadata={"static": True})

    def __call__(self, x):
        return self.activation(self.weight @ x) * self.heads


@dataclasses.dataclass
class Network:
    inner: list
    last: Dense

    def __call__(self, x):
        for layer in self.inner:
            x = layer(x)
        return np.sum(self.last(x))


@pytest.mark.parametrize("budget", [None, "1MiB"])
def test_the_texts_functions_and_static_fields_of_a_dataclass_are_carried_along(budget):
    network = Network([Dense(real(3, 3)), Dense(real(3, 3), np.square, "squares")], Dense(real(2, 3), heads=3))
    x, gradient = real(3), rt.grad(lambda network, x: network(x), memory_budget=budget)
    for inner in (network.inner, [network.inner[0], dataclasses.replace(network.inner[1], activation=np.sin)]):
        changed = dataclasses.replace(network, inner=inner)
        found = gradient(changed, x)
        assert [layer.name for layer in found.inner] == ["dense", "squares"]
        assert (found.last.heads, found.inner[1].activation) == (3, inner[1].activation)
        rt.check_grads(lambda weight, c=changed: dataclasses.replace(c, last=Dense(weight))(x), network.last.weight)
        np.testing.assert_array_equal(found.last.weight, rt.grad(lambda n: n(x))(changed).last.weight)


def test_a_number_of_a_dataclass_that_is_no_parameter_says_how_to_mark_it():
    with pytest.raises(rt.InputError, match=r"argument 0.scale is int.*; a field that is no parameter may be marked static"):
        rt.grad(lambda m: np.sum(m.layers[0].weight))(Model((Layer(real(2), real(2)),), 3))


def test_an_array_that_stands_twice_in_a_container_gets_two_gradients_of_its_own():
    w = real(3)
    a, b = rt.grad(lambda p: np.sum(p[0]) + np.sum(p[1]))([w, w])
    a += 1
    np.testing.assert_array_equal(b, np.ones(3))


def test_unused_arguments_get_zeros_and_constant_losses_too():
    gradients = rt.grad(lambda a, b: np.sum(a), (0, 1))(np.float32([1, 2]), real(2, 2))
    np.testing.assert_array_equal(gradients[1], np.zeros((2, 2)))
    np.testing.assert_array_equal(rt.grad(lambda x: 3.0)(real(2)), np.zeros(2))
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(np.floor(x)))(real(2)), np.zeros(2))


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x + 0.0, lambda x: x.reshape(3), lambda x: x.T, lambda x: x[:]])
def test_gradients_are_writable_arrays_of_their_own(f):
    x, cotangent = real(3), np.ones(3)
    (gradient,) = rt.vjp(f, x)[1](cotangent)
    gradient += 5
    np.testing.assert_array_equal(cotangent, np.ones(3))
    np.testing.assert_array_equal(x, real(3))


def test_derivatives_to_the_fourth_order_of_sin_come_round():
    f = np.sin
    for expected in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        f = rt.grad(f)
        assert f(0.7) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("f", "third"),
    [(lambda x: x**5, lambda x: 60 * x**2), (lambda x: np.exp(2 * x), lambda x: 8 * np.exp(2 * x)),
     (lambda x: 1 / x, lambda x: -6 / x**4), (lambda x: x * np.log(x), lambda x: -1 / x**2),
     (lambda x: np.sum(np.stack([x, x * x]) ** 2), lambda x: 24 * x),
     (lambda x: np.tanh(x), lambda x: (6 * np.tanh(x) ** 2 - 2) / np.cosh(x) ** 2)],
)  # fmt: skip
def test_third_derivatives_equal_their_closed_forms(f, third):
    assert rt.grad(rt.grad(rt.grad(f)))(1.3) == pytest.approx(third(1.3), rel=1e-11)


def test_inner_and_outer_derivatives_are_not_confused():
    assert rt.grad(lambda x: x * rt.grad(lambda y: x + y)(2.0))(1.0) == 1.0
    assert rt.grad(lambda x: x * rt.grad(lambda y: x * y * y)(3.0))(2.0) == 2 * 2.0 * 2 * 3.0
    assert rt.grad(lambda x: rt.grad(lambda y: rt.grad(lambda z: x * y * z)(1.0))(1.0))(1.0) == 1.0
    assert rt.grad(lambda x: rt.grad(lambda y: np.sin(x) * 2.0)(x))(1.0) == 0.0


def test_a_gradient_inside_a_loss_is_differentiated():
    def penalty(w, x):
        g = rt.grad(lambda x: np.sum(np.tanh(w @ x)))(x)
        return np.sum(g * g)

    rt.check_grads(penalty, real(3, 2), real(2, seed=1), order=2, tolerance=1e-5)


def test_a_hessian_vector_product_equals_the_hessian():
    def f(x):
        return np.sum(np.sin(x[:-1] * x[1:]) * x[0])

    x, v = real(4), real(4, seed=1)
    product = rt.grad(lambda x: np.sum(rt.grad(f)(x) * v))(x)
    hessian = np.stack([rt.vjp(rt.grad(f), x)[1](row)[0] for row in np.eye(4)])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-13)
    np.testing.assert_allclose(product, hessian @ v, rtol=1e-12)


def test_a_pullback_may_be_called_again_and_is_linear():
    y, pullback = rt.vjp(lambda a, b: {"p": a * np.sin(b), "s": np.sum(a)}, real(3), real(3, seed=1))
    one = {"p": np.ones(3), "s": np.float64(0.0)}
    first, again = pullback(one), pullback(one)
    np.testing.assert_array_equal(first, again)
    twice = pullback({"p": 2 * np.ones(3), "s": np.float64(0.0)})
    np.testing.assert_allclose(twice, 2 * np.asarray(first))
    assert y["p"].shape == (3,)


def test_a_pullback_may_be_called_inside_another_transform():
    _, pullback = rt.vjp(lambda x: x**2, real(3))
    np.testing.assert_allclose(rt.grad(lambda g: np.sum(pullback(g)[0] ** 2))(np.ones(3)), 8 * real(3) ** 2)


def test_one_input_may_be_returned_several_times():
    _, pullback = rt.vjp(lambda x: (x, x, x * 2, 1.0), 3.0)
    assert pullback((1.0, 10.0, 100.0, 7.0))[0] == 211.0


def test_argnums_choose_arguments_in_their_order():
    def f(a, b, c):
        return a * b**2 * c**3

    args = 2.0, 3.0, 5.0
    assert rt.grad(f, 1)(*args) == 2 * 2 * 3 * 125
    assert rt.grad(f, -1)(*args) == 2 * 9 * 3 * 25
    assert rt.grad(f, (2, 0))(*args) == (2 * 9 * 75, 9 * 125)
    assert rt.grad(f, [0])(*args) == (9 * 125,)
    assert rt.grad(lambda x, names: x * len(names), 0)(2.0, ["a", object()]) == 2.0


def test_keyword_arguments_pass_through():
    assert rt.grad(lambda x, *, scale, power=2: scale * x**power)(3.0, scale=2.0, power=3) == 54.0


def test_auxiliary_output_comes_back_as_plain_values():
    def f(x):
        y = x * x
        return np.sum(y), {"y": y, "name": "aux", "n": [3, y[0]]}

    (value, aux), gradient = rt.value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]))
    assert value == 5.0 and aux["name"] == "aux" and type(aux["y"]) is np.ndarray
    np.testing.assert_array_equal(aux["y"], [1.0, 4.0])
    np.testing.assert_array_equal(gradient, [2.0, 4.0])
    again, aux = rt.grad(f, has_aux=True)(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(again, gradient)
    assert aux["n"][1] == 1.0
    y, pullback, aux = rt.vjp(f, np.array([1.0, 2.0]), has_aux=True)
    assert aux["name"] == "aux" and y == 5.0 and pullback(1.0)[0][1] == 4.0


def test_stop_gradient_cuts_arrays_and_containers():
    assert rt.grad(lambda x: x * rt.stop_gradient(x))(3.0) == 3.0
    p = {"a": 2.0, "b": [3.0, None]}
    g = rt.grad(lambda p: rt.stop_gradient(p)["a"] * p["b"][0])(p)
    assert g["a"] == 0.0 and g["b"] == [2.0, None]
    assert rt.stop_gradient(5.0) == 5.0 and rt.stop_gradient("name") == "name"


def test_stop_gradient_cuts_every_level():
    def f(x):
        return rt.grad(lambda y: rt.stop_gradient(y) * y * x)(x)

    assert rt.grad(f)(3.0) == 3.0  # the inner gradient is stop_gradient(y) * x; only the factor x counts


def test_a_traced_array_behaves_like_an_array():
    def f(x):
        assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float64, 2)
        assert x.nbytes == 48 and x.itemsize == 8 and np.shape(x) == (2, 3) and np.ndim(x) == 2 and np.size(x, 1) == 3
        assert np.result_type(x, np.float32) == np.float64 and np.isrealobj(x) and not np.iscomplexobj(x)
        assert bool(x[0, 0] < 100) and np.all(np.isfinite(x)) and np.allclose(x, x) and np.array_equal(x, x)
        assert x.real is x and f"{x.sum():.3f}" and repr(x)
        y = x.sum() + x.mean(0).max() + x.ravel()[0] + x.flatten()[1]
        return y + x.clip(0, 1).min() + x.trace() + x.dot(x.T)[0, 0]

    rt.check_grads(f, distinct(2, 3), order=2)


def chain(x, weights, wrap):
    for w in weights:
        x = wrap(lambda x, w=w: np.tanh(np.tanh(x * w) + x))(x)
    return np.mean(x * x)


def halves(x, weights):
    """Checkpoints within checkpoints, and one that only passes its argument on."""

    def part(x, some):
        return (
            part(rt.checkpoint(lambda x: part(x, some[: len(some) // 2]))(x), some[len(some) // 2 :])
            if (len(some) > 1)
            else np.tanh(np.tanh(x * some[0]) + x)
        )

    x = rt.checkpoint(lambda x: part(x, weights))(x)
    return np.mean(rt.checkpoint(lambda x: x)(x) ** 2)


WEIGHTS = np.linspace(0.5, 1.5, 8)


@pytest.mark.parametrize("f", [lambda x, w: chain(x, w, rt.checkpoint), halves, rt.checkpoint(
    lambda x, w: chain(x, w, lambda f: f))], ids=["each layer", "nested", "all"])  # fmt: skip
def test_checkpoint_changes_no_bit_of_value_or_gradient(f):
    plain = rt.value_and_grad(lambda x, w: chain(x, w, lambda f: f), (0, 1))(real(5), WEIGHTS)
    marked = rt.value_and_grad(f, (0, 1))(real(5), WEIGHTS)
    assert marked[0] == plain[0]
    np.testing.assert_array_equal(marked[1][0], plain[1][0])
    np.testing.assert_array_equal(marked[1][1], plain[1][1])


def test_checkpoint_may_be_differentiated_twice_and_pulled_back_twice():
    f = rt.checkpoint(lambda x: np.tanh(np.sin(x) * x))
    rt.check_grads(lambda x: np.sum(f(f(x)) ** 2), real(3), order=2, tolerance=1e-5)
    _, pullback = rt.vjp(f, real(3))
    np.testing.assert_array_equal(pullback(np.ones(3)), pullback(np.ones(3)))


def test_checkpoint_sees_closures_keywords_and_containers():
    def f(x, scale):
        g = rt.checkpoint(lambda p, *, shift: {"y": np.sin(p["a"]) * scale + shift})
        return np.sum(g({"a": x}, shift=x * 2)["y"] ** 2)

    rt.check_grads(f, real(3), 1.5, order=2, tolerance=1e-5)


def peak_bytes(f, x):
    rt.grad(f)(x)
    tracemalloc.start()
    rt.grad(f)(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_checkpoint_holds_fewer_values():
    def layers(x, count):
        for _ in range(count):
            x = np.tanh(1.1 * x)
        return x

    def in_parts(x):
        for _ in range(8):
            x = rt.checkpoint(lambda x: layers(x, 5))(x)
        return np.mean(x * x)

    x = real(20_000)
    assert peak_bytes(lambda x: np.mean(layers(x, 40) ** 2), x) > 2 * peak_bytes(in_parts, x)


def test_gradients_in_four_threads_at_once_are_right():
    def f(x):
        y = x
        for _ in range(200):
            y = np.sin(y) * x + rt.grad(lambda z: np.sum(z * z))(y) * 0.01
        return np.sum(y)

    starts = [real(6, seed=k) for k in range(4)]
    expected = [rt.grad(f)(x) for x in starts]
    shared, found = rt.grad(f), {}
    barrier = threading.Barrier(4)

    def work(k):
        barrier.wait()
        found[k] = [shared(starts[k]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        for gradient in found[k]:
            np.testing.assert_array_equal(gradient, expected[k])


def test_a_recorded_tape_prints_as_code():
    tape = rt.record(lambda x, w: np.sum(np.tanh(x @ w) * 2.0), real(2, 3), real(3, 4))
    text = str(tape)
    assert [op.name for op, *_ in tape.calls] == ["matmul", "tanh", "multiply", "sum"]
    assert "tanh(" in text and "f8[2, 4]" in text and "test_transforms.py" in text
    assert text.endswith("return v6")


def test_check_grads_notices_a_wrong_derivative():
    def wrong(x):
        return np.sum(x * rt.stop_gradient(x))

    with pytest.raises(rt.GradientMismatch, match="finite differences"):
        rt.check_grads(wrong, real(3))


SMOOTH = [
    np.sin,
    np.tanh,
    lambda x: np.sqrt(1 + x * x),
    lambda x: np.exp(-x * x),
    lambda x: 1 / (1 + x * x),
    lambda x: 2 - x / 3,
]
PAIRS = [np.add, np.multiply, lambda a, b: a - b * 0.5, lambda a, b: a / (2 + b * b), np.logaddexp]


@st.composite
def programs(draw):
    """A shape and a list of steps; each step reads the newest array (and an older one of the same shape)."""
    shape = draw(st.lists(st.integers(1, 4), min_size=0, max_size=3))
    steps = draw(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 50)), min_size=1, max_size=9))
    return tuple(shape), steps


def step(kind, number, x, older):
    axis = number % x.ndim if x.ndim else None
    if kind <= 2 or not x.ndim:
        return SMOOTH[number % len(SMOOTH)](x)
    if kind == 3:
        return PAIRS[number % len(PAIRS)](x, older if np.shape(older) == x.shape else x.mean() + 1)
    if kind == 4:
        return [np.sum, np.mean, np.max, np.var, np.min][number % 5](x, axis=axis, keepdims=number % 3 == 0)
    if kind == 5:
        return np.transpose(x) if number % 2 else np.reshape(x, (-1, *x.shape[2:]))
    if kind == 6:
        return x[(slice(None),) * axis + ([slice(None, None, -1), slice(1, None), 0, None][number % 4],)]
    if kind == 7:
        rows = np.arange(number, number + 3) * 7 % max(x.shape[axis], 1)
        return np.take(x, rows, axis=axis) if x.shape[axis] else x
    if kind == 8:
        return np.matmul(x.mT if x.ndim > 1 else x, x)
    if kind == 9:
        return np.concatenate([x, 2 * x], axis=axis) if number % 2 else np.stack([x, np.cos(x)], axis=axis)
    if kind == 10:
        y = x * 1.0
        y[number % max(len(y), 1) :] *= 0.5
        y[::2] += x[::2] ** 2
        return y
    return [np.cumsum, np.flip, np.sort, rt.softmax][number % 4](x, axis=axis)


@given(programs())
@settings(derandomize=True, max_examples=150, deadline=None, database=None)
def test_random_programs_agree_with_finite_differences_with_checkpoints_and_with_budgets(program):
    shape, steps = program

    def run(x, wrap=lambda f: f):
        values = [x, x]
        for kind, number in steps:
            x = wrap(lambda a, b, kind=kind, number=number: step(kind, number, a, b))(x, values[-2])
            if np.size(x) > 300 or np.size(x) == 0:
                x = values[-1]
            if np.max(np.abs(x)) > 3:
                x = x / 5
            values.append(x)
        return np.sum(np.tanh(x))

    x = positive(*shape, seed=len(steps)) + 0.01 * real(*shape)
    x = np.asarray(x)
    value, gradient = rt.value_and_grad(run)(x)
    np.testing.assert_allclose(value, run(x), rtol=1e-12)
    rt.check_grads(run, x, tolerance=1e-4)
    np.testing.assert_array_equal(rt.grad(lambda x: run(x, rt.checkpoint))(x), gradient)
    np.testing.assert_array_equal(rt.grad(run, memory_budget="4MiB")(x), gradient)


JACOBIANS = [
    ("real to complex", lambda x: x * 1j + x**2, np.array([1.0, 2.0]), np.diag([2.0 + 1j, 4.0 + 1j])),
    ("complex to real", lambda z: np.abs(z) ** 2, np.array([1 + 1j, 2 - 1j]), np.diag([2 - 2j, 4 + 2j])),
    ("complex to complex", lambda z: z**2, np.array([1 + 1j, 2 - 1j]), np.diag([2 + 2j, 4 - 2j])),
    ("real to whole numbers", lambda x: (x > 1).astype(int), np.array([1.0, 2.0]), np.zeros((2, 2))),
    ("single to double", lambda x: x.astype(float) ** 2, np.array([1, 2], np.float32), np.diag(np.array([2, 4], np.float32))),
    ("single to complex", lambda x: x * 1j, np.array([1, 2], np.float32), np.eye(2, dtype=np.complex64) * 1j),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
@pytest.mark.parametrize(("name", "f", "x", "expected"), JACOBIANS, ids=[case[0] for case in JACOBIANS])
def test_a_jacobian_is_the_same_in_every_mode_and_has_the_arguments_dtype(name, f, x, expected, mode):
    found = rt.jacobian(f, mode=mode)(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_jacobian_and_a_hessian_run_the_function_once():
    calls = []

    def f(x):
        calls.append(x.shape)
        return np.sin(x) * np.sum(x)

    for compute in (*(rt.jacobian(f, mode=mode) for mode in ("forward", "reverse")), rt.hessian(lambda x: np.sum(f(x)))):
        calls.clear()
        compute(np.arange(4.0))
        assert len(calls) == 1


@pytest.mark.parametrize("output", ["text", object(), np.array([object()]), np.array(["a"])], ids=type)
def test_an_output_that_is_no_number_is_refused_by_its_path(output):
    x = np.ones(2)
    pulled = lambda value, pullback: pullback(value)  # noqa: E731
    for transform in (
        lambda f: pulled(*rt.vjp(f, x)), lambda f: rt.jvp(f, (x,), (x,)), lambda f: rt.linearize(f, x),
        lambda f: rt.jacobian(f)(x),
    ):  # fmt: skip
        with pytest.raises(rt.InputError, match=r"output\['rest'\]\[1\] is .* has_aux=True"):
            transform(lambda x: {"value": x * 2, "rest": (x, output)})


def test_an_output_of_none_has_no_leaves():
    assert rt.jvp(lambda x: (x * 2, None), (1.0,), (1.0,))[1] == (2.0, None)


def test_a_plain_out_is_refused_by_the_name_that_the_program_calls():
    for call, name in ((np.sum, "numpy.sum"), (np.mean, "numpy.mean"), (np.add.reduce, "numpy.add")):
        out = np.zeros(())
        with pytest.raises(rt.NotDifferentiableError, match=rf"^{name}\b"):
            rt.grad(lambda x, call=call, out=out: call(x, out=out))(np.ones(2))


WRITTEN_AFTERWARDS = {
    "an argument": (lambda w, c: w * w, lambda w, c, y: w),
    "an argument that is a view": (lambda w, c: w[1:] ** 3, lambda w, c, y: w),
    "an output": (lambda w, c: np.tanh(w), lambda w, c, y: y),
    "an array from outside": (lambda w, c: w * c, lambda w, c, y: c),
    "an array from outside, in a region": (rt.checkpoint(lambda w, c: np.sin(w * c)), lambda w, c, y: c),
}


@pytest.mark.parametrize("transform", [rt.vjp, rt.linearize])
@pytest.mark.parametrize("what", WRITTEN_AFTERWARDS)
def test_derivatives_are_refused_once_what_they_read_has_been_written_to(what, transform):
    function, chosen = WRITTEN_AFTERWARDS[what]
    w, c = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    output, derivative = transform(lambda w: function(w, c), w)
    derivative(np.ones_like(output) if transform is rt.vjp else np.ones_like(w))
    array = chosen(w, c, output)
    array[::2] *= 2
    with pytest.raises(rt.ChangedError, match="was written to after the function had run"):
        derivative(np.ones_like(output) if transform is rt.vjp else np.ones_like(w))


def test_arrays_that_no_derivative_reads_may_be_written_to():
    w, c = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    output, pullback = rt.vjp(lambda w: w * c, w)
    w *= 10
    output *= 10
    np.testing.assert_array_equal(pullback(np.ones(2))[0], c)
