"""Batches of examples: vmap and batched Jacobians against loops over the examples, alone and under every other transform."""

import concurrent.futures
import dataclasses
import importlib

import numpy as np
import optree
import pytest

import retape as rt

R = np.random.default_rng(0)
X, W = R.normal(size=(5, 3)), R.normal(size=(3, 4))
PLACES = np.array([[0, 1], [2, 2], [1, 0], [-1, 0], [2, 1]])


def looped(f, *batches):
    """What vmap is to give: `f` of one example after the other, stacked."""
    results = [f(*examples) for examples in zip(*batches, strict=True)]
    return optree.tree_map(lambda *leaves: np.stack(leaves), *results, namespace="retape")


def same(a, b, tolerance=1e-12):
    a, b = (optree.tree_leaves(tree, namespace="retape") for tree in (a, b))
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.result_type(x) == np.result_type(y)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.max(np.abs(y), initial=1))


def loss(w, x):
    return np.sum(np.tanh(x @ w) ** 2)


UFUNCS = [
    np.sin, np.exp, np.tanh, np.arctan, np.log1p, np.cbrt, np.square, np.sqrt, np.add, np.multiply, np.divide, np.power,
    np.hypot, np.arctan2, np.maximum, np.logaddexp, np.greater, np.floor, np.copysign, np.isfinite,
]  # fmt: skip


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_elementwise_functions_give_the_same_bits_as_a_loop(ufunc):
    a, b = (np.abs(R.normal(size=(7, 40))) for _ in range(2))
    batches = (a, b)[: ufunc.nin]
    np.testing.assert_array_equal(rt.vmap(ufunc)(*batches), looped(ufunc, *batches))


def test_a_product_with_an_operand_of_fewer_axes_broadcasts_as_one_example_does():
    a, b = R.normal(size=(4, 2, 4)), R.normal(size=(4, 4))
    same(rt.vmap(np.multiply)(a, b), looped(np.multiply, a, b))
    same(rt.vmap(np.add, in_axes=(0, None))(b, a), np.stack([row + a for row in b]))


# Each with a gradient, written so that an example of three numbers (and of two places in it) makes sense of it.
def views(x, i):
    y = np.zeros_like(x)
    part = y[1:]
    part[:] = x[:2] * x[0]
    y.reshape(-1)[0] = x[2]
    return y * x


def written_at(x, i):
    y = x * x
    y[i] = np.sin(x[:2])
    return y


def added_at(x, i):
    y = np.zeros_like(x)
    np.add.at(y, i, x[:2])
    y[i[0]] += x[1] ** 2
    return y


def masked(x, i):
    y = x * 2
    y[y > 0.5] = 0.1
    np.copyto(y, x**2, where=y < 0)
    return y


def flattened(x, i):
    y = np.real(rt.numpy.ones((2, 3), complex)) + 0 * x
    z = np.real(rt.numpy.ones((2, 3), complex))  # which all examples share until it is written
    z.ravel()[4] = x[0]
    y.reshape(-1)[1] = x[1]
    return y * x + z


def element_by_element(x, i):
    z = rt.numpy.zeros(6)
    z[0] = x[0]
    for k in range(1, 6):
        z[k] = 0.5 * z[k - 1] + x[k % 3]
    return z


def looped_by_scan(x, i):
    last, all_of_them = rt.scan(lambda c, v: (np.tanh(c + v), c * v), x[0], x)
    return last + all_of_them


PROGRAMS = {
    "reads at places": lambda x, i: x[i] ** 2,
    "reads a row": lambda x, i: np.outer(x, x)[i[0]],
    "reads columns": lambda x, i: np.outer(x, np.sin(x))[:, i],
    "reads between slices": lambda x, i: np.einsum("i,j,k->ijk", x, x, x)[i, :, i],
    "reads beside a shared place": lambda x, i: np.outer(x, np.sin(x))[np.array([0, 2]), i],
    "takes along an axis": lambda x, i: np.take_along_axis(np.outer(x, x), np.argsort(np.outer(x, -x), axis=1), 1)[i[1]],
    "a table of plain numbers": lambda x, i: rt.numpy.array(W)[i] * x[:2, None],
    "views that are written": views,
    "writes at places": written_at,
    "adds at places": added_at,
    "masks": masked,
    "flattened views": flattened,
    "element by element": element_by_element,
    "a loop": looped_by_scan,
    "a median": lambda x, i: np.median(np.outer(x, x), axis=0) + np.percentile(x, 30),
    "sorted": lambda x, i: np.sort(x)[::-1] * np.cumsum(x),
    "linear algebra": lambda x, i: np.linalg.solve(np.outer(x, x) + 3 * np.eye(3), x) + np.linalg.eigvalsh(np.outer(x, x)),
    "a shared system": lambda x, i: np.linalg.solve(W @ W.T + np.eye(3), np.outer(x, x)),
    "spectra": lambda x, i: np.abs(np.fft.rfft(x * np.ones((2, 1)), 8, axis=1)) ** 2,
    "complex": lambda x, i: np.abs(np.exp(1j * x) + x) ** 2,
    "products": lambda x, i: np.dot(x, W) @ W.T + np.outer(x, x) @ x + np.einsum("i,ij,kj->k", x, W, W),
    "checkpointed": lambda x, i: rt.checkpoint(lambda v: np.sin(v) * v)(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_and_its_derivatives_are_those_of_a_loop(name):
    f = PROGRAMS[name]

    def scalar(x, i):
        y = f(x, i)
        return np.sum(y * np.cos(np.arange(float(np.size(y)))).reshape(np.shape(y)))

    gradient = rt.grad(scalar)

    def second(x, i):
        return rt.hvp(lambda v: scalar(v, i), (x,), (np.cos(x),))[0]

    same(rt.vmap(f)(X, PLACES), looped(f, X, PLACES))
    expected = looped(gradient, X, PLACES)
    same(rt.vmap(gradient)(X, PLACES), expected)
    same(rt.grad(lambda x: np.sum(rt.vmap(scalar)(x, PLACES)))(X), expected)
    same(rt.grad(lambda x: np.sum(rt.vmap(scalar)(x, PLACES)), memory_budget="8MiB")(X), expected)
    same(rt.jvp(lambda x: rt.vmap(scalar)(x, PLACES), (X,), (np.cos(X),))[1], np.sum(expected * np.cos(X), axis=1))
    same(rt.vmap(second)(X, PLACES), looped(second, X, PLACES))
    same(rt.grad(lambda x: np.sum(np.cos(X) * rt.vmap(gradient)(x, PLACES)))(X), looped(second, X, PLACES))


def random_program(seed):
    """A function of one example of shape (3, 4): some twenty calls, among them writes, chosen at random."""
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=(4, 4)) / 2

    def indexed_write(a, b):
        y = a + 0.0
        y[1:, ::2] = b[:2, 1::2]
        return y

    steps = [
        lambda a, b: a * b, lambda a, b: np.tanh(a) + b, lambda a, b: a @ weights, lambda a, b: np.where(a > b, a, b * b),
        lambda a, b: a - np.mean(b, axis=0), lambda a, b: np.cumsum(a, axis=1) / 4, lambda a, b: a[::-1] * np.max(b),
        lambda a, b: np.reshape(a.T, (3, 4)) + b, lambda a, b: np.concatenate([a[:1], b[1:]]), indexed_write,
        lambda a, b: np.sort(a, axis=0) * b, lambda a, b: np.roll(a, 1, axis=1), lambda a, b: a[:, [3, 0, 0, 1]],
        lambda a, b: a / (1.0 + b * b), lambda a, b: np.broadcast_to(np.sum(a * b, axis=1, keepdims=True), (3, 4)) / 4,
        lambda a, b: np.sqrt(a * a + 1.0) * np.sign(b), lambda a, b: (a @ b.T) @ a / 8,
    ]  # fmt: skip
    chosen = [(steps[draw.integers(len(steps))], draw.integers(0, 2)) for _ in range(20)]

    def f(x):
        a, b = x, np.sin(x) + 0.5
        for step, turn in chosen:
            a, b = (step(a, b), a) if turn else (b, np.tanh(step(b, a)))
        return np.sum(a * b)

    return f


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_give_what_a_loop_gives(seed):
    f, x = random_program(seed), np.random.default_rng(seed).normal(size=(4, 3, 4))
    gradient = rt.grad(f)
    same(rt.vmap(f)(x), looped(f, x), 1e-11)
    same(rt.vmap(gradient)(x), looped(gradient, x), 1e-11)
    same(rt.grad(lambda v: np.sum(rt.vmap(f)(v)))(x), looped(gradient, x), 1e-11)
    same(rt.hessian(f)(x[0]), rt.hessian(f, batch_size=1)(x[0]), 1e-11)


def test_per_example_gradients_of_nested_parameters_have_their_containers():
    @dataclasses.dataclass
    class Layer:
        weight: np.ndarray
        bias: float

    parameters = {"layers": [Layer(W, 0.5), Layer(W.T.copy(), -0.1)]}

    def network(p, x):
        for layer in p["layers"]:
            x = np.tanh(x @ layer.weight + layer.bias)
        return np.sum(x)

    same(
        rt.vmap(rt.value_and_grad(network), in_axes=(None, 0))(parameters, X),
        looped(lambda x: rt.value_and_grad(network)(parameters, x), X),
    )


def test_axes_may_be_named_for_parts_of_containers_and_outputs():
    def f(p, x, *, scale):
        return {"sum": p["w"] * x * scale, "shared": p["c"], "number": 3.0}

    axes = {"sum": 1, "shared": None, "number": 0}
    made = rt.vmap(f, in_axes=({"w": 1, "c": None}, -1), out_axes=axes)({"w": X.T, "c": W}, X.T, scale=X[:, 0])
    same(made, {"sum": (X * X * X[:, :1]).T, "shared": W, "number": np.full(5, 3.0)})


def test_vmap_nests_in_itself():
    same(rt.vmap(rt.vmap(lambda a, b: a @ b, (None, 0)), (0, None))(X, X[:4]), X @ X[:4].T)
    pairs = rt.vmap(rt.vmap(rt.grad(loss), in_axes=(None, 0)), in_axes=(0, None))(np.stack([W, 2 * W]), X)
    same(pairs, np.stack([looped(lambda x, w=w: rt.grad(loss)(w, x), X) for w in (W, 2 * W)]))
    same(rt.vmap(rt.jacobian(lambda x: np.tanh(x @ W)))(X), looped(rt.jacobian(lambda x: np.tanh(x @ W)), X))


def test_no_examples_have_results_of_no_examples():
    same(rt.vmap(rt.grad(loss), in_axes=(None, 0))(W, np.zeros((0, 3))), np.zeros((0, 3, 4)))


def test_single_precision_stays_single():
    same(rt.vmap(rt.grad(loss), in_axes=(None, 0))(W.astype("f4"), X.astype("f4")).astype(float),
         looped(lambda x: rt.grad(loss)(W, x), X), 1e-5)  # fmt: skip
    assert rt.vmap(rt.grad(loss), in_axes=(None, 0))(W.astype("f4"), X.astype("f4")).dtype == np.float32


def test_a_primitive_runs_once_for_each_example():
    calls = []

    @rt.primitive
    def cubed(x):
        calls.append(x.shape)
        return x**3

    cubed.defvjp(lambda g, x: 3 * g * x**2)
    same(rt.vmap(rt.grad(lambda x: np.sum(cubed(x))))(X), 3 * X**2)
    assert calls == [(3,)] * 5
    same(rt.jacobian(cubed)(X[0]), np.diag(3 * X[0] ** 2))


@rt.custom_vjp
def seven_times(x, scale):
    return x * scale


# A rule that is no derivative shows whether it is the rule that is used.
seven_times.defvjp(lambda x, s: (x * s, (x, s)), lambda kept, g: (np.clip(g * kept[1], -1, 1), 7 * g * kept[0]))


@rt.custom_jvp
def twice_the_slope(x, scale):
    return np.abs(x) * scale


twice_the_slope.defjvp(
    lambda primals, tangents: (
        np.abs(primals[0]) * primals[1],
        2 * tangents[0] * np.sign(primals[0]) * primals[1] + tangents[1] * primals[0] ** 2,
    )
)


@pytest.mark.parametrize("custom", [seven_times, twice_the_slope], ids=["vjp", "jvp"])
@pytest.mark.parametrize("argnums", [0, 1])
def test_a_users_rule_is_used_under_and_over_vmap_and_for_what_the_examples_share(custom, argnums):
    scale = np.array([2.0, 1.0, 3.0])

    def f(x, s):
        return np.sum(custom(x, s) ** 2 * x)

    def total(x, s):
        return np.sum(rt.vmap(f, in_axes=(0, None))(x, s))

    gradient = rt.grad(f, argnums)
    each = looped(lambda x: gradient(x, scale), X)
    same(rt.vmap(gradient, in_axes=(0, None))(X, scale), each)
    same(rt.grad(total, argnums)(X, scale), each if argnums == 0 else each.sum(axis=0))
    along = ((X, 0 * scale), (0 * X, scale))[argnums]
    same(
        rt.jvp(rt.vmap(f, in_axes=(0, None)), (X, scale), along)[1],
        looped(lambda x, t: rt.jvp(f, (x, scale), (t, along[1]))[1], X, along[0]),
    )
    second = rt.grad(lambda x, s: np.sum(rt.grad(f, argnums)(x, s) ** 2))
    same(
        rt.grad(lambda x: np.sum(rt.vmap(gradient, in_axes=(0, None))(x, scale) ** 2))(X),
        looped(lambda x: second(x, scale), X),
    )


def test_random_numbers_drawn_inside_are_the_same_for_all_examples():
    generator = rt.random.Generator(1)
    noise = rt.vmap(lambda x: generator.normal(size=2) + 0 * x[0])(X)
    assert np.all(noise == noise[0])
    kept = rt.vmap(rt.grad(lambda x: np.sum(generator.dropout(x, 0.5))))(np.ones((4, 50)))
    assert np.all(kept == kept[0])
    assert set(np.unique(kept)) == {0.0, 2.0}
    own = rt.vmap(lambda x, e: x + e)(X, generator.normal(size=(5, 3)))
    assert len({tuple(row) for row in own - X}) == 5


def test_arguments_and_results_share_no_memory_and_arguments_stay_as_they_are():
    def overwritten(x):
        x[0] = 9.0
        return x

    before = X.copy()
    made = rt.vmap(overwritten)(X)
    np.testing.assert_array_equal(X, before)
    same(made[:, 1:], X[:, 1:])
    for f in (lambda x: x, lambda x: x[::-1], lambda x: X[0]):
        result = rt.vmap(f)(X)
        result[:] = 0.0
        np.testing.assert_array_equal(X, before)


def test_a_loop_of_writes_copies_nothing(monkeypatch):
    copies = []
    indexing = importlib.import_module("retape.runtime.ops.indexing")
    own_copy = indexing._own_copy
    monkeypatch.setattr(indexing, "_own_copy", lambda x, index: copies.append(x.shape) or own_copy(x, index))

    def filled(x):
        z = np.zeros_like(x)
        for k in range(20):
            z[k] = x[k] * 2
        return z

    x = R.normal(size=(3, 20))
    same(rt.vmap(filled)(x), 2 * x)
    assert len(copies) <= 1  # of the zeros that all examples share
    copies.clear()
    same(rt.jacobian(filled, mode="reverse")(x[0]), 2 * np.eye(20))
    assert len(copies) <= 2 * 20  # the cotangents of writes, as without a batch


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("batch_size", [None, 1, 2, 5, 100])
def test_a_jacobian_is_the_same_by_any_number_of_rows_at_once(mode, batch_size):
    def f(p, x):
        return {"y": np.tanh(x @ p["w"]) * 1j, "s": np.sum(p["w"], axis=0) + p["c"] * 2, "n": x[:0]}

    arguments = {"w": W, "c": np.float64(2.0)}, X[0]
    made = rt.jacobian(f, (0, 1), mode=mode, batch_size=batch_size)(*arguments)
    expected = rt.jacobian(f, (0, 1), mode="forward", batch_size=1)(*arguments)
    same(made, expected)
    assert made["y"][0]["w"].shape == (4, 3, 4)


def test_a_jacobian_takes_no_more_rows_at_once_than_memory_allows():
    sizes = []

    @rt.primitive
    def seen(x):
        return x * 1.0

    def rule(g):
        sizes.append(g.nbytes)
        return g

    seen.defvjp(rule)
    x = np.ones(2**18)  # two mebibytes
    rt.jacobian(lambda x: np.stack([np.sum(seen(x) * k) for k in range(40)]))(x)
    # A rule of a user's is called for all rows of a batch at once: 16 at first, then 32 of 2 MiB.
    assert len(sizes) == 40 * 2


def test_rules_that_compute_outside_of_numpy_are_called_for_one_row_at_a_time():
    seen = []

    @rt.primitive
    def doubled(x):
        return 2 * x

    def rule(g):
        seen.append(g.shape)
        return np.asarray([2 * float(value) for value in g])

    doubled.defvjp(rule)
    same(rt.jacobian(doubled, mode="reverse")(np.arange(6.0)), 2 * np.eye(6))
    assert seen == [(6,)] * 7  # the first time for a batch, in vain
    with pytest.raises(rt.BatchedValueError):
        rt.jacobian(doubled, mode="reverse", batch_size=3)(np.arange(6.0))


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0 is below 1"):
        rt.jacobian(np.sin, batch_size=0)
    with pytest.raises(ValueError, match="batch_size=-3"):
        rt.hessian(np.sum, batch_size=-3)


def branch(x):
    return x if x[0] > 0 else -x


def into_plain(x):
    z = np.zeros(3)
    z[0] = x[0]
    return z


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (branch, r"the truth of a value.*test_batching.py:\d+\): choose with np\.where"),
        (into_plain, r"cannot hold a traced value: float\(\) of a value.*test_batching.py:\d+\): .*retape\.numpy"),
        (lambda x: X[x.astype(int)], r"conversion to a plain array of a value.*index retape\.numpy\.array\(table\)"),
        (lambda x: x[x > 0], "differs from example to example"),
        (lambda x: np.unique(np.round(x)), "results of different shapes"),
        (lambda x: rt.while_loop(lambda c: c[0] < 9, lambda c: c * 2, x), "the truth of a value"),
    ],
    ids=["branch", "into a plain array", "index of a plain array", "mask", "shapes", "while_loop"],
)
def test_what_needs_one_value_raises_with_the_line_and_the_cure(f, message):
    with pytest.raises(rt.BatchedValueError, match=message):
        rt.vmap(f)(np.abs(X) * np.array([1, 2, 3, 4, 5])[:, None])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rt.vmap(np.add)(X, W), r"different lengths: 5 in argument 0, 3 in argument 1"),
        (lambda: rt.vmap(np.sin)(1.0), r"argument 0 has shape \(\) and no axis 0"),
        (lambda: rt.vmap(np.sin, in_axes=None)(X), "nothing to map over"),
        (lambda: rt.vmap(np.sin, in_axes=(0, 0))(X), "2 entries for 1 positional"),
        (lambda: rt.vmap(lambda p: p["a"], in_axes=({"b": 0},))({"a": X}), "does not fit the arguments"),
        (lambda: rt.vmap(np.sin, in_axes=(1.5,))(X), "does not fit the arguments"),
        (lambda: rt.vmap(np.sin, out_axes=None)(X), "differs from example to example, but out_axes says None"),
        (lambda: rt.vmap(lambda x: (x, "a"))(X), r"the output\[1\] is str"),
        (lambda: rt.vmap(lambda x, k: x)(X, k=np.array(["a"] * 5)), "argument k is of dtype <U1"),
        (lambda: rt.vmap(3), "vmap maps a function, not int"),
    ],
)
def test_a_wrong_call_raises_what_is_wrong_with_it(call, message):
    with pytest.raises(rt.InputError, match=message):
        call()


def test_a_value_that_escaped_raises():
    kept = []
    rt.vmap(lambda x: kept.append(x) or x)(X)
    with pytest.raises(rt.EscapedError):
        kept[0] + 1


def test_a_budget_inside_of_vmap_is_one_of_each_example():
    gradient = rt.grad(loss, argnums=1, memory_budget="1MiB")
    same(rt.vmap(gradient, in_axes=(None, 0))(W, X), looped(lambda x: rt.grad(loss, 1)(W, x), X))
    with pytest.raises(rt.TapeError, match="put the budget on the outermost"):
        rt.vmap(lambda x: rt.grad(lambda w: loss(w, x), memory_budget="1MiB")(W))(X)


def test_threads_map_at_once():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: rt.vmap(rt.grad(loss), in_axes=(None, 0))(k * W, X), range(8)))
    for k, made in enumerate(found):
        same(made, looped(lambda x, k=k: rt.grad(loss)(k * W, x), X))
