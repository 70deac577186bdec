"""Every op against finite differences, complex steps, closed forms and NumPy's own values."""

import math

import numpy as np
import optree
import pytest
from test_forms import FORMS

import retape as rt
from retape.runtime.op import OPS

NOT_DIFFERENTIATED = {"read", "stop_gradient", "zeros", "ones", "astype_integer"}
IN_LOOPS = {"loop", "loop_part", "loop_result"}  # recorded by loops under a budget, which have tests of their own
REFUSED = {"zetac", "riemann_zeta"}  # their rules say that there is none


def real(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def inside(*shape, seed=0):
    """Numbers in (-0.8, 0.8), none near 0."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0.1, 0.8, shape) * generator.choice([-1.0, 1.0], shape)


def distinct(*shape, seed=0):
    """Numbers at least 0.3 apart."""
    count = math.prod(shape)
    return (0.37 * np.random.default_rng(seed).permutation(count) + 0.11).reshape(shape)


def agrees_with_numpy(f, *args, tolerance=1e-12):
    """Assert that a traced run gives the value, shape and dtype of a plain one; return the plain one."""
    plain = f(*args)
    traced, _ = rt.vjp(f, *args)
    pairs = zip(plain, traced, strict=True) if isinstance(plain, (list, tuple)) else [(plain, traced)]
    for a, b in pairs:
        assert np.shape(a) == np.shape(b)
        assert np.result_type(a) == np.result_type(b)
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    return plain


def matrix(n, seed=0):
    """A well-conditioned matrix."""
    return real(n, n, seed=seed) + 3 * np.eye(n)


UNARY = [
    ("absolute", np.abs, inside), ("fabs", np.fabs, inside), ("negative", np.negative, real),
    ("positive", np.positive, real), ("square", np.square, real), ("sqrt", np.sqrt, positive),
    ("cbrt", np.cbrt, positive), ("reciprocal", np.reciprocal, positive), ("exp", np.exp, real),
    ("exp2", np.exp2, real), ("expm1", np.expm1, real), ("log", np.log, positive),
    ("log2", np.log2, positive),
    ("log10", np.log10, positive), ("log1p", np.log1p, positive), ("sin", np.sin, real),
    ("cos", np.cos, real),
    ("tan", np.tan, inside), ("arcsin", np.arcsin, inside), ("arccos", np.arccos, inside),
    ("arctan", np.arctan, real), ("sinh", np.sinh, real), ("cosh", np.cosh, real), ("tanh", np.tanh, real),
    ("arcsinh", np.arcsinh, real), ("arccosh", lambda x: np.arccosh(x + 2), positive),
    ("arctanh", np.arctanh, inside), ("deg2rad", np.deg2rad, real), ("radians", np.radians, real),
    ("rad2deg", np.rad2deg, inside), ("degrees", np.degrees, inside), ("sinc", np.sinc, inside),
]  # fmt: skip

BINARY = [
    ("add", np.add, real, real), ("subtract", np.subtract, real, real), ("multiply", np.multiply, real, real),
    ("divide", np.divide, real, positive), ("power", np.power, positive, real),
    ("float_power", np.float_power, positive, real), ("arctan2", np.arctan2, positive, positive),
    ("hypot", np.hypot, positive, positive), ("logaddexp", np.logaddexp, real, real),
    ("logaddexp2", np.logaddexp2, real, real), ("copysign", np.copysign, inside, inside),
    ("maximum", np.maximum, real, real), ("minimum", np.minimum, real, real), ("fmax", np.fmax, real, real),
    ("fmin", np.fmin, real, real),
    ("remainder", lambda a, b: np.remainder(a + 5.3, b), inside, positive),
    ("fmod", lambda a, b: np.fmod(a + 5.3, b), inside, positive),
    ("where", lambda a, b: np.where(np.array([True, False, True]), a, b), real, real),
]  # fmt: skip


def buffer_like(x):
    return np.zeros_like(x)


def write_slice(x):
    y = buffer_like(x)
    y[1:] = x[:-1] * 2
    return y * x


def write_over(x):
    y = x * x
    y[1:3] = x[0] * x[3]
    y[[0, 0]] = 2.0
    return y * x


def write_repeated(x):
    y = buffer_like(x)
    np.add.at(y, [0, 0, 2], x[:3] ** 2)
    return y * x


REST = [
    ("the literal powers", lambda x: x**2 + x**3 + x**-1 + x**0.5 + x**1 + x**0 + 2.0**x, [positive(3)]),
    ("operators with plain numbers", lambda x: (1 - x) * 2 / (3 + x) - x / 2 + (-x) + +x, [positive(3)]),
    ("clip inside and outside", lambda x: np.clip(x, 0.5, 2.0) ** 2, [distinct(8)]),
    ("nan_to_num", lambda x: np.nan_to_num(x) ** 2, [real(3)]),
    ("a cast down and up again", lambda x: x.astype(np.float64) ** 2, [real(3)]),
    ("a copy", lambda x: np.copy(x) * x, [real(2, 3)]),
    ("softmax", lambda x: rt.softmax(x), [real(3, 4)]),
    ("softmax over the first axis", lambda x: rt.softmax(x, axis=0), [real(3, 4)]),
    ("log_softmax", lambda x: rt.log_softmax(x) * x, [real(3, 4)]),
    ("logsumexp", lambda x: rt.logsumexp(x, axis=0), [real(3, 4)]),
    ("logsumexp with kept axes", lambda x: rt.logsumexp(x, axis=1, keepdims=True), [real(3, 4)]),
    ("sum of everything", lambda x: np.sum(x * x), [real(2, 3)]),
    ("sum over a tuple of axes", lambda x: np.sum(x * x, axis=(0, -1)), [real(2, 3, 4)]),
    ("sum over no axis", lambda x: np.sum(x * x, axis=()), [real(2, 3)]),
    ("sum with kept axes", lambda x: np.sum(x * x, axis=1, keepdims=True) * x, [real(2, 3)]),
    ("sum with where and initial", lambda x: np.sum(x * x, axis=0, where=x > 0, initial=2.0), [real(3, 4)]),
    ("prod", lambda x: np.prod(x, axis=1), [real(2, 4)]),
    ("prod of everything", lambda x: np.prod(x), [positive(2, 3)]),
    ("prod over two axes", lambda x: np.prod(x, axis=(0, 2)), [positive(2, 3, 2)]),
    ("prod with one zero and with two", lambda x: np.prod(x, axis=1), [np.array([[2.0, 0, 3], [0, 5, 0]])]),
    ("prod with where", lambda x: np.prod(x, axis=0, where=x > 0.8), [positive(3, 3)]),
    ("max", lambda x: np.max(x, axis=0) ** 2, [distinct(3, 4)]),
    ("max of everything", lambda x: np.max(x) ** 2, [distinct(3, 4)]),
    ("max with initial and where", lambda x: np.max(x, axis=0, initial=-1, where=x > 1) ** 2,
     [distinct(3, 4)]),
    ("min", lambda x: np.min(x, axis=(0, 1), keepdims=True) * x, [distinct(3, 4)]),
    ("ptp", lambda x: np.ptp(x, axis=1) ** 2, [distinct(3, 4)]),
    ("mean", lambda x: np.mean(x**2, axis=0), [real(3, 4)]),
    ("mean with where", lambda x: np.mean(x**2, axis=0, where=np.eye(3, 4) < 1), [real(3, 4)]),
    ("var", lambda x: np.var(x, axis=0), [real(3, 4)]),
    ("var with ddof", lambda x: np.var(x, ddof=1), [real(3, 4)]),
    ("var with where", lambda x: np.var(x, axis=0, where=np.eye(3, 4) < 1), [real(3, 4)]),
    ("var with a mean given", lambda x: np.var(x, axis=0, mean=np.mean(x, axis=0, keepdims=True)),
     [real(3, 4)]),
    ("std", lambda x: np.std(x, axis=1, ddof=1), [real(3, 4)]),
    ("average", lambda x, w: np.average(x, axis=0, weights=w), [real(3, 4), positive(3)]),
    ("average without weights", lambda x: np.average(x * x), [real(3, 4)]),
    ("cumsum", lambda x: np.cumsum(x * x, axis=1), [real(2, 4)]),
    ("cumsum of everything", lambda x: np.cumsum(x * x), [real(2, 3)]),
    ("cumprod", lambda x: np.cumprod(x, axis=0), [positive(5, 2)]),
    ("add.reduce over the first axis", lambda x: np.add.reduce(x * x), [real(2, 3)]),
    ("multiply.reduce", lambda x: np.multiply.reduce(x, axis=1), [real(2, 3)]),
    ("maximum.reduce", lambda x: np.maximum.reduce(x * x), [distinct(2, 3)]),
    ("minimum.reduce", lambda x: np.minimum.reduce(x * x, axis=1), [distinct(2, 3)]),
    ("add.accumulate over the first axis", lambda x: np.add.accumulate(x * x), [real(3, 2)]),
    ("multiply.accumulate", lambda x: np.multiply.accumulate(x, axis=1), [positive(3, 2)]),
    ("count_nonzero", lambda x: np.count_nonzero(x > 0, axis=0) * x, [real(3, 2)]),
    ("reshape", lambda x: np.reshape(x * x, (3, -1)), [real(2, 6)]),
    ("reshape that copies", lambda x: x.reshape((3, 4), copy=True) ** 2, [real(2, 6)]),
    ("transpose", lambda x: np.transpose(x * x, (2, 0, 1)), [real(2, 3, 4)]),
    ("swapaxes, moveaxis and rollaxis", lambda x: np.rollaxis(np.moveaxis(x.swapaxes(0, 1), 0, -1), 2),
     [real(2, 3, 4)]),
    ("T and mT", lambda x: x.T[0] * x.mT.sum(), [real(2, 3, 4)]),
    ("squeeze and expand_dims", lambda x: np.squeeze(np.expand_dims(x * x, (0, 2))), [real(2, 3)]),
    ("atleast_1d and atleast_2d", lambda x: np.atleast_2d(np.atleast_1d(np.sum(x * x))), [real(2)]),
    ("broadcast_to", lambda x: np.broadcast_to(x * x, (4, 2, 3)) * np.arange(4.0)[:, None, None],
     [real(2, 3)]),
    ("broadcast_arrays", lambda x, y: np.broadcast_arrays(x, y)[0] * y, [real(3, 1), real(2)]),
    ("concatenate", lambda x, y: np.concatenate([x * x, y, x], axis=1), [real(2, 3), real(2, 1)]),
    ("concatenate flat", lambda x, y: np.concatenate([x * x, y], axis=None), [real(2, 3), real(2, 1)]),
    ("stack", lambda x, y: np.stack([x * y, y], axis=-1), [real(2, 3), real(2, 3)]),
    ("vstack, hstack and column_stack",
     lambda x: np.hstack([np.vstack([x, x * x]), np.column_stack([x, x])[:2]]),
     [real(3)]),
    ("split and array_split", lambda x: np.split(x, 3)[1] * np.array_split(x, [2, 3])[0], [real(6)]),
    ("unequal array_split", lambda x: np.array_split(x * x, 4)[0], [real(6)]),
    ("hsplit and vsplit", lambda x: np.hsplit(x, 2)[1] @ np.vsplit(x, 2)[0], [real(4, 4)]),
    ("unstack", lambda x: np.unstack(x, axis=1)[2] ** 2, [real(2, 3)]),
    ("flip", lambda x: np.flip(x, 1) * np.flipud(x) * np.fliplr(x), [real(2, 3)]),
    ("roll", lambda x: np.roll(x, 2) * np.roll(x, (1, -1), (0, 1)) * np.roll(x, 0, 1), [real(2, 3)]),
    ("repeat", lambda x: np.repeat(x * x, [2, 0, 1], axis=1), [real(2, 3)]),
    ("tile", lambda x: np.tile(x * x, (2, 1, 3)), [real(2, 3)]),
    ("pad with constants", lambda x: np.pad(x * x, ((1, 0), (0, 2)), constant_values=1.5), [real(2, 3)]),
    ("pad with the edge", lambda x: np.pad(x * x, 2, mode="edge"), [real(2, 3)]),
    ("pad with a reflection", lambda x: np.pad(x * x, (1, 2), mode="reflect"), [real(3, 3)]),
    ("pad around and symmetric", lambda x: np.pad(np.pad(x * x, 1, mode="wrap"), 1, mode="symmetric"),
     [real(2, 3)]),
    ("tril and triu", lambda x: np.tril(x, -1) + np.triu(x, 1) ** 2, [real(3, 4)]),
    ("diagonal and trace", lambda x: np.diagonal(x * x, 1) * np.trace(x, -1), [real(3, 4)]),
    ("a diagonal over other axes", lambda x: np.diagonal(x * x, 0, 2, 0), [real(3, 2, 4)]),
    ("diag both ways", lambda x: np.diag(np.diag(x * x, 1), -1), [real(3, 3)]),
    ("diff", lambda x: np.diff(x * x, n=2, axis=0), [real(4, 2)]),
    ("diff with edges", lambda x: np.diff(x * x, prepend=1.0, append=x[:, :1]), [real(2, 3)]),
    ("full_like of a traced value", lambda x: np.full_like(x, np.sum(x * x)) * x, [real(3)]),
    ("ones_like", lambda x: (np.ones_like(x) * 2 + np.full_like(x, 3.0) + np.empty_like(x) * 0) * x,
     [real(3)]),
    ("matmul", lambda a, b: a @ b, [real(2, 3), real(3, 4)]),
    ("matmul with a batch", lambda a, b: np.matmul(a, b), [real(5, 2, 3), real(5, 3, 2)]),
    ("matmul with a broadcast batch", lambda a, b: a @ b, [real(2, 1, 2, 3), real(3, 3, 2)]),
    ("matmul of a batch and a matrix", lambda a, b: a @ b, [real(4, 2, 3), real(3, 2)]),
    ("matmul of a matrix and a batch", lambda a, b: a @ b, [real(2, 3), real(4, 3, 2)]),
    ("matmul of two vectors", lambda a, b: a @ b, [real(3), real(3)]),
    ("matmul of a vector and a matrix", lambda a, b: a @ b, [real(3), real(3, 2)]),
    ("matmul of a matrix and a vector", lambda a, b: a @ b, [real(2, 3), real(3)]),
    ("matmul of a batch and a vector", lambda a, b: a @ b, [real(4, 2, 3), real(3)]),
    ("matmul with plain operands", lambda a: np.ones((2, 3)) @ (a @ np.ones((2, 2))) ** 2, [real(3, 2)]),
    ("dot", lambda a, b: np.dot(a, b) * np.dot(2.0, np.dot(a, b)), [real(2, 3), real(3, 4)]),
    ("dot with three dimensions", lambda a, b: np.dot(a, b), [real(2, 3), real(4, 3, 2)]),
    ("inner", lambda a, b: np.inner(a, b), [real(2, 3), real(4, 3)]),
    ("outer", lambda a, b: np.outer(a, b), [real(2, 2), real(3)]),
    ("vdot", lambda a, b: np.vdot(a, b), [real(2, 3), real(2, 3)]),
    ("tensordot with a number", lambda a, b: np.tensordot(a, b, 2), [real(2, 3, 4), real(3, 4, 2)]),
    ("tensordot with axes", lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])), [real(2, 3, 4), real(4, 2)]),
    ("tensordot as an outer product", lambda a, b: np.tensordot(a, b, 0), [real(2), real(3)]),
    ("norm", lambda x: np.linalg.norm(x), [real(2, 3)]),
    ("norm over an axis", lambda x: np.linalg.norm(x, axis=1, keepdims=True) * x, [real(2, 3)]),
    ("the 1-norm and the largest", lambda x: np.linalg.norm(x, 1) * np.linalg.norm(x, np.inf), [distinct(4)]),
    ("the Frobenius norm", lambda x: np.linalg.norm(x, "fro", keepdims=True), [real(2, 3)]),
    ("solve", lambda a, b: np.linalg.solve(a, b), [matrix(3), real(3, 2)]),
    ("solve with a vector", lambda a, b: np.linalg.solve(a, b), [matrix(3), real(3)]),
    ("solve with a batch and a vector", lambda a, b: np.linalg.solve(np.stack([a, a.T]), b),
     [matrix(3), real(3)]),
    ("inv", lambda a: np.linalg.inv(a), [matrix(3)]),
    ("take", lambda x: np.take(x * x, [[0, 2], [2, 1]], axis=1), [real(2, 3)]),
    ("take_along_axis and sort", lambda x: np.sort(x, axis=0) * np.take_along_axis(x, np.argsort(x, 1), 1),
     [distinct(3, 3)]),
    ("compress", lambda x: np.compress([True, False, True], x * x, axis=1), [real(2, 3)]),
    ("a slice written in place", write_slice, [real(4)]),
    ("values overwritten in place", write_over, [real(4)]),
    ("repeated additions in place", write_repeated, [real(4)]),
    ("arrays built of traced ones", lambda x: rt.numpy.array([[x[0], 2.0], [x[1] * x[0], x[2]]]) ** 2,
     [real(3)]),
    ("full of a traced value", lambda x: rt.numpy.full((2, 3), x[0] * x[1]) * x, [real(3)]),
]  # fmt: skip

CASES = (
    [(name, f, [make(2, 3)]) for name, f, make in UNARY]
    + [(name, f, [a(2, 3), b(2, 3, seed=1)]) for name, f, a, b in BINARY]
    + REST
)
ids = [case[0] for case in CASES]


@pytest.mark.parametrize(("name", "f", "args"), CASES, ids=ids)
def test_first_and_second_derivatives_agree_with_finite_differences(name, f, args):
    agrees_with_numpy(f, *args)
    rt.check_grads(f, *args, order=2, tolerance=1e-5)


@pytest.mark.slow
def test_every_op_with_a_rule_is_reached_by_some_case():
    reached = set()
    for _, f, args in [*CASES, *((form.text, form.f, form.args) for form in FORMS)]:

        def once_and_back(*values, f=f):
            y, pullback = rt.vjp(f, *values)
            return pullback(optree.tree_map(np.ones_like, y, namespace="retape"))

        def along(*values, f=f):
            return rt.jvp(f, values, values)[1]

        for program in (f, once_and_back, along):
            reached |= {op.name for op, *_ in rt.record(program, *args).calls}

    def slope_of_det(a):
        return rt.vjp(np.linalg.det, a)[1](1.0)[0]

    for program in (
        lambda a: rt.vjp(slope_of_det, a)[1](a)[0],
        rt.hessian(lambda a: np.sum(np.sqrt(a) + np.linalg.vector_norm(a, ord=3))),
        rt.jacobian(lambda a: np.linalg.vector_norm(a, ord=3), mode="forward"),
    ):
        reached |= {op.name for op, *_ in rt.record(program, np.eye(3) + 1).calls}
    with_rules = {name for name, op in OPS.items() if any(op.rules)} - NOT_DIFFERENTIATED - REFUSED - IN_LOOPS
    assert with_rules - reached == set()


HOLOMORPHIC = [
    ("sin", np.sin, real), ("cos", np.cos, real), ("tan", np.tan, inside), ("exp", np.exp, real),
    ("exp2", np.exp2, real), ("expm1", np.expm1, real), ("log", np.log, positive),
    ("log2", np.log2, positive),
    ("log10", np.log10, positive), ("log1p", np.log1p, positive), ("sqrt", np.sqrt, positive),
    ("tanh", np.tanh, real), ("sinh", np.sinh, real), ("cosh", np.cosh, real), ("arctan", np.arctan, real),
    ("arcsin", np.arcsin, inside), ("arccos", np.arccos, inside), ("arcsinh", np.arcsinh, real),
    ("arctanh", np.arctanh, inside), ("square", np.square, real), ("reciprocal", np.reciprocal, positive),
    ("power", lambda x: x**2.7, positive), ("exponential", lambda x: 1.7**x, real),
    ("quotient", lambda x: (1 + x * x) / (2 + x), positive),
    ("a composition", lambda x: np.exp(np.sin(x) * np.sqrt(x)) / (1 + x**3), positive),
]  # fmt: skip


@pytest.mark.parametrize(("name", "f", "make"), HOLOMORPHIC, ids=[case[0] for case in HOLOMORPHIC])
def test_holomorphic_functions_agree_with_the_complex_step_to_thirteen_digits(name, f, make):
    x = make(50, seed=3)
    expected = np.imag(f(x + 1e-30j)) / 1e-30
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(f(x)))(x), expected, rtol=1e-13)


PIECEWISE_CONSTANT = [
    np.floor, np.ceil, np.trunc, np.rint, np.sign, np.round, lambda x: np.floor_divide(x, 0.3), np.isfinite,
    lambda x: np.heaviside(x, 0.5), lambda x: x > 0.1, lambda x: x.astype(int), np.argsort,
    lambda x: np.argmax(x, axis=0), lambda x: np.isclose(x, 0.2), lambda x: np.searchsorted([0.0, 1.0], x),
]  # fmt: skip


@pytest.mark.parametrize("f", PIECEWISE_CONSTANT)
def test_piecewise_constant_functions_have_their_values_and_no_slope(f):
    x = real(3, 4)
    plain = f(x)
    value, gradient = rt.value_and_grad(lambda x: np.sum(f(x) * 1.0 * x))(x)
    assert value == pytest.approx(np.sum(plain * x))
    np.testing.assert_allclose(gradient, np.broadcast_to(plain * 1.0, x.shape))


SHAPES = [((3,), ()), ((), (3,)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1), (3,)), ((1,), (2, 3)), ((4, 1, 3), (2, 1))]


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
@pytest.mark.parametrize(("name", "f", "a", "b"), BINARY, ids=[case[0] for case in BINARY])
def test_binary_ops_broadcast_either_side(name, f, a, b, a_shape, b_shape):
    x, y = np.asarray(a(*a_shape)), np.asarray(b(*b_shape, seed=1))
    agrees_with_numpy(f, x, y)
    rt.check_grads(f, x, y, tolerance=1e-5)
    for gradient, argument in zip(rt.grad(lambda x, y: np.sum(f(x, y)), (0, 1))(x, y), (x, y), strict=True):
        assert np.shape(gradient) == np.shape(argument)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ba,cb", (3, 2), (4, 3)), ("ii", (3, 3)),
    ("ii->i", (3, 3)), ("iij->j", (3, 3, 2)), ("iii", (2, 2, 2)), ("ij->ji", (2, 3)), ("ij->", (2, 3)),
    ("i->", (3,)),
    ("i,i", (3,), (3,)), ("i,j->ij", (2,), (3,)), ("i,j->ji", (2,), (3,)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bij,bkj->bki", (2, 3, 4), (2, 2, 4)), ("...ij,...jk->...ik", (2, 2, 3), (2, 3, 4)),
    ("...ij,jk->...ik", (5, 2, 3), (3, 4)), ("i...,i...->...", (2, 3, 4), (2, 3, 4)), ("...i->...", (2, 3)),
    ("...,...", (2, 3), (2, 3)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("i,ij,j->", (2,), (2, 3), (3,)),
    ("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)), ("a,b,c->cab", (2,), (3,), (2,)), ("ij,kj->ik", (2, 3), (4, 3)),
    ("ijk,ik->ij", (2, 3, 4), (2, 4)), ("ij,k->j", (2, 3), (4,)), ("iij,jk->ik", (3, 3, 2), (2, 4)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), (" i j , j -> i ", (2, 3), (3,)),
]  # fmt: skip


@pytest.mark.parametrize(("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS])
def test_einsum_agrees_with_numpy_and_with_finite_differences(subscripts, shapes):
    args = [real(*shape, seed=k) for k, shape in enumerate(shapes)]
    agrees_with_numpy(lambda *args: np.einsum(subscripts, *args), *args)
    rt.check_grads(lambda *args: np.einsum(subscripts, *args), *args, order=2)


def test_softmax_and_its_relatives_equal_their_closed_forms():
    x = real(3, 5)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(rt.softmax(x), p, rtol=1e-14)
    np.testing.assert_allclose(rt.log_softmax(x), np.log(p), rtol=1e-12)
    np.testing.assert_allclose(rt.logsumexp(x, axis=1), np.log(np.exp(x).sum(1)), rtol=1e-14)
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(rt.logsumexp(x)))(x), p, rtol=1e-12)
    np.testing.assert_allclose(rt.grad(lambda x: -rt.log_softmax(x)[0, 2])(x)[0], p[0] - np.eye(5)[2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shift", [1e4, -1e4, 1e300])
def test_softmax_and_its_relatives_do_not_overflow(shift):
    x = np.array([0.0, 1.0, -2.0]) + shift
    small = x - shift
    np.testing.assert_allclose(rt.softmax(x), rt.softmax(small), rtol=1e-10)
    np.testing.assert_allclose(rt.logsumexp(x), rt.logsumexp(small) + shift, rtol=1e-14)
    for f in (lambda x: rt.softmax(x)[0], lambda x: rt.log_softmax(x)[2], rt.logsumexp):
        np.testing.assert_allclose(rt.grad(f)(x), rt.grad(f)(small), rtol=1e-10)


def test_softmax_of_masked_scores_gives_the_masked_ones_no_gradient():
    x = np.array([1.0, -np.inf, 2.0])
    gradient = rt.grad(lambda x: rt.log_softmax(x)[0])(x)
    assert gradient[1] == 0 and np.all(np.isfinite(gradient))
    np.testing.assert_allclose(rt.softmax(x)[[0, 2]], rt.softmax(np.array([1.0, 2.0])))


DTYPE_PROGRAMS = [
    ("Python scalars", lambda x: np.sum((2.0 * x + 1 - x / 3) ** 2 * 0.5), True),
    ("ufuncs", lambda x: np.sum(np.tanh(x) * np.exp(-x * 0.1) + np.sin(x)), True),
    ("literal powers", lambda x: np.sum(x**2 + x**3.0 + 2.0**x), True),
    ("reductions", lambda x: np.mean(x) + np.var(x) + np.max(x) + np.prod(x) + np.std(x), True),
    ("softmax", lambda x: rt.softmax(x)[0] + rt.log_softmax(x)[1] + rt.logsumexp(x), True),
    ("where, clip and maximum", lambda x: np.sum(np.where(x > 0, x, 0.0) + np.clip(x, 0.0, 1.0)), True),
    ("matmul and einsum", lambda x: np.einsum("i,i", x, x) + (x[:, None] @ x[None, :]).sum(), True),
    ("gathers and writes", lambda x: np.sum(write_slice(x)[[0, 0, 1]]), True),
    ("norm and pad", lambda x: np.linalg.norm(np.pad(x, 1, constant_values=1.0)), True),
    ("concatenate, diff and cumsum", lambda x: np.sum(np.cumsum(np.concatenate([np.diff(x), x])) ** 2), True),
    ("a float64 constant", lambda x: np.sum(x * np.linspace(0.1, 1.0, 4)), False),
    ("a float64 scalar", lambda x: np.sum(np.float64(0.3) * x * x), False),
    ("a float64 reduction", lambda x: np.sum(x * x, dtype=np.float64), False),
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("name", "f", "stays"), DTYPE_PROGRAMS, ids=[case[0] for case in DTYPE_PROGRAMS])
def test_the_gradient_has_the_dtype_of_its_argument(name, f, stays, dtype):
    x = np.array([0.5, -0.25, 1.5, 0.75], dtype)
    value, gradient = rt.value_and_grad(f)(x)
    assert gradient.dtype == dtype and gradient.shape == x.shape
    assert np.asarray(value).dtype == np.asarray(f(x)).dtype == (dtype if stays else np.float64)
    reference = rt.grad(f)(x.astype(np.float64))
    np.testing.assert_allclose(gradient, reference, rtol=300 * np.finfo(dtype).eps, atol=30 * np.finfo(dtype).eps)


def test_mixed_dtypes_each_get_their_own_back():
    args = np.float32([1.0, 2.0]), np.float64([3.0, 4.0]), np.float16([5.0, 6.0])
    gradients = rt.grad(lambda a, b, c: np.sum(a * b * c), (0, 1, 2))(*args)
    assert [g.dtype for g in gradients] == [np.float32, np.float64, np.float16]
    np.testing.assert_allclose(gradients[1], [5.0, 12.0])


def test_a_half_precision_mean_does_not_overflow():
    x = np.full(5000, 60.0, np.float16)
    value, gradient = rt.value_and_grad(np.mean)(x)
    assert value == np.mean(x) == 60.0 and value.dtype == np.float16
    np.testing.assert_allclose(gradient, 1 / 5000, rtol=1e-3)


KEYWORD_FORMS = [
    ("sum into out", lambda x, out: np.sum(x, axis=0, out=out)),
    ("sum into a positional out", lambda x, out: np.sum(x, 0, None, out)),
    ("mean into out", lambda x, out: np.mean(x, axis=0, out=out)),
    ("the method into out", lambda x, out: x.max(0, out)),
    ("std into out", lambda x, out: np.std(x, axis=0, out=out)),
    ("a ufunc into out", lambda x, out: np.multiply(x[0], x[1], out=out)),
    ("a ufunc into a tuple out", lambda x, out: np.exp(x[0], out=(out,))),
    ("matmul into out", lambda x, out: np.matmul(x[0], x[:, :3].T @ x, out=out)),
    ("dot into out", lambda x, out: np.dot(x[0], x[:, :3].T @ x, out=out)),
    ("einsum into out", lambda x, out: np.einsum("ij,ij->j", x, x, out=out)),
    ("cumsum into out", lambda x, out: np.cumsum(x[0], out=out)),
    ("clip into out", lambda x, out: np.clip(x[0], -0.5, 0.5, out)),
    ("concatenate into out", lambda x, out: np.concatenate([x[0, :1], x[1, 1:]], out=out)),
    ("add.reduce into out", lambda x, out: np.add.reduce(x, out=out)),
    ("take into out", lambda x, out: np.take(x, [0, 0, 4], out=out)),
]


@pytest.mark.parametrize(("name", "write"), KEYWORD_FORMS, ids=[case[0] for case in KEYWORD_FORMS])
def test_out_is_written(name, write):
    def f(x):
        out = np.zeros_like(x[0])
        returned = write(x, out)
        return out * np.arange(1.0, 4.0) + returned

    agrees_with_numpy(f, real(2, 3))
    rt.check_grads(f, real(2, 3), order=2, tolerance=1e-5)


@pytest.mark.parametrize(("name", "write"), KEYWORD_FORMS, ids=[case[0] for case in KEYWORD_FORMS])
def test_a_plain_out_is_refused_for_it_cannot_hold_a_traced_value(name, write):
    with pytest.raises(rt.NotDifferentiableError, match="zeros_like"):
        rt.vjp(lambda x: write(x, np.zeros(3)), real(2, 3))


VALUE_FORMS = [
    ("sum with dtype", lambda x: np.sum(x, dtype=np.float32)),
    ("mean with dtype", lambda x: np.mean(x, axis=0, dtype=np.float32)),
    ("var with dtype", lambda x: np.var(x, dtype=np.float32)),
    ("var with correction", lambda x: np.var(x, axis=1, correction=1)),
    ("std with where", lambda x: np.std(x, where=x > -1)),
    ("a ufunc with dtype", lambda x: np.add(x, 1, dtype=np.float32)),
    ("a ufunc with where=True", lambda x: np.add(x, 1, where=True)),
    ("concatenate with dtype", lambda x: np.concatenate([x, x], dtype=np.float32)),
    ("stack with dtype", lambda x: np.stack([x, x], 1, dtype=np.float32)),
    ("ones_like with dtype", lambda x: np.ones_like(x, dtype=int) * x),
    ("zeros_like with a shape", lambda x: np.zeros_like(x, shape=(2, 2)) + x[0, 0]),
    ("round to decimals", lambda x: np.round(x, 2)),
    ("cumsum with dtype", lambda x: np.cumsum(x, axis=1, dtype=np.float32)),
    ("astype without a copy", lambda x: x.astype(np.float64, copy=False)),
    ("nan_to_num with replacements", lambda x: np.nan_to_num(x / (x > 0), nan=1.0, posinf=7.0, neginf=-7.0)),
    ("average with its weight", lambda x: np.average(x, axis=1, weights=[1, 2, 3.0], returned=True)),
]


@pytest.mark.parametrize(("name", "f"), VALUE_FORMS, ids=[case[0] for case in VALUE_FORMS])
def test_keyword_forms_have_numpys_values(name, f):
    with np.errstate(divide="ignore"):
        agrees_with_numpy(f, real(3, 3), tolerance=1e-6 if "dtype" in name else 1e-12)


def test_einsum_refuses_a_repeated_label_of_two_extents():
    with pytest.raises(ValueError, match="extents 2 and 3"):
        rt.vjp(lambda x: np.einsum("ii->i", x), real(2, 3))


def test_concatenate_keeps_numpys_casting_rule():
    with pytest.raises(TypeError, match="cast"):
        rt.vjp(lambda x: np.concatenate([x, x], dtype=int), real(3))


SINGULAR = [
    ("the norm at 0", np.linalg.norm, np.zeros(3), np.zeros(3)),
    ("the std of equal values", np.std, np.full(4, 2.5), np.zeros(4)),
    ("ties of max share", np.max, np.array([1.0, 3.0, 3.0]), np.array([0, 0.5, 0.5])),
    ("ties of min share", np.min, np.array([1.0, 1.0, 3.0]), np.array([0.5, 0.5, 0])),
    ("ties of maximum share", lambda x: np.sum(np.maximum(x, 1.0)), np.array([0.0, 1.0, 2.0]),
     np.array([0, 0.5, 1])),
    ("prod with one zero", np.prod, np.array([2.0, 0.0, 3.0]), np.array([0.0, 6.0, 0.0])),
    ("prod with two zeros", np.prod, np.array([0.0, 0.0, 3.0]), np.zeros(3)),
    ("cumprod with a zero", lambda x: np.cumprod(x)[-1], np.array([2.0, 0.0, 3.0]),
     np.array([0.0, 6.0, 0.0])),
    ("sinc at 0", lambda x: np.sum(np.sinc(x)), np.zeros(2), np.zeros(2)),
    ("abs at 0", lambda x: np.sum(np.abs(x)), np.zeros(2), np.zeros(2)),
    ("0 ** 2", lambda x: np.sum(x**2), np.zeros(2), np.zeros(2)),
    ("0 ** 1", lambda x: np.sum(x**1), np.zeros(2), np.ones(2)),
    ("0 ** an array", lambda x: np.sum(x ** np.array([0.0, 1.0, 2.0])), np.zeros(3),
     np.array([0.0, 1.0, 0.0])),
    ("2 to the 0", lambda b: np.sum(0.0**b), np.array([2.0]), np.zeros(1)),
    ("a branch not taken", lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)), 0)), np.zeros(2),
     np.zeros(2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "f", "x", "expected"), SINGULAR, ids=[case[0] for case in SINGULAR])
def test_singular_points_have_their_stated_gradient(name, f, x, expected):
    np.testing.assert_array_equal(rt.grad(f)(x), expected)


def test_the_second_derivative_of_sinc_at_0_is_exact():
    second = rt.grad(rt.grad(np.sinc))(0.0)
    np.testing.assert_allclose(second, -(np.pi**2) / 3, rtol=1e-12)


@pytest.mark.parametrize("f", [np.std, np.var, np.linalg.norm, np.max, np.sum, np.mean])
def test_nan_in_gives_nan_out(f):
    assert np.isnan(rt.vjp(f, np.array([np.nan, 1.0]))[0])


def test_a_negative_base_has_no_derivative_in_its_exponent():
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(rt.grad(lambda b: (-2.0) ** b)(2.0))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "uint8", "complex64"])
def test_a_long_choice_has_the_bits_of_numpys_whether_made_anew_or_into_a_buffer(dtype):
    generator = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.nan, np.inf, 1.5, -2.5] if np.dtype(dtype).kind in "fc" else [0, 1, 250])
    a, b = (generator.choice(special, (300, 40)).astype(dtype) for _ in range(2))
    mask = generator.random((300, 40)) > 0.5
    zero, minus = np.zeros((), dtype), np.full((), -0.0 if np.dtype(dtype).kind == "f" else 0, dtype)
    choices = [(a, b), (a, 0), (0, b), (a, zero), (minus, b), (a, 1.0), (a, b[:1]), (a.T.copy().T, b), (a[::2, :], b[::2, :])]
    with np.errstate(invalid="ignore"):
        for condition in (mask, mask.astype(int), np.asfortranarray(mask), mask[:, :1]):
            for x, y in choices:
                chosen = condition[: len(x if np.ndim(x) else y)]
                expected = np.where(chosen, x, y)
                made = OPS["where"].run(chosen, x, y)
                assert made.dtype == expected.dtype and made.strides == expected.strides
                assert made.tobytes() == expected.tobytes()
                into = OPS["where"].run_into
                assert into is not None and into(np.empty_like(expected), chosen, x, y).tobytes() == expected.tobytes()
