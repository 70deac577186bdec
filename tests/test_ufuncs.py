import math
import warnings

import numpy as np
import pytest
from forms.elementwise import UNARY
from forms.ufunc_forms import MASK
from numpy.testing.overrides import get_overridable_numpy_ufuncs

import retape as rt
from retape.runtime.op import FUNCTIONS, UFUNCS
from retape.runtime.ops.ufunc_forms import NOT_APPLICABLE


def test_every_ufunc_of_numpy_has_a_rule_or_a_reason_for_none():
    known = {u for u in get_overridable_numpy_ufuncs() if u in UFUNCS or u in FUNCTIONS}
    unknown = {u.__name__ for u in get_overridable_numpy_ufuncs() - known if u.signature is None}
    assert unknown - set(NOT_APPLICABLE) == set()


POINTS = np.array([1e-12, 1e-5, 0.03, 0.3, 0.62, 0.97])
BEYOND = np.array([1.2, 2.0, 5.0, 30.0, 300.0])
BY_COMPLEX_STEP = [
    (np.sqrt, POINTS), (np.sqrt, BEYOND), (np.exp, -BEYOND), (np.exp, BEYOND), (np.exp2, POINTS), (np.expm1, -POINTS),
    (np.log, POINTS), (np.log, BEYOND), (np.log2, POINTS), (np.log10, POINTS), (np.log1p, POINTS), (np.log1p, -POINTS),
    (np.sin, POINTS), (np.sin, BEYOND), (np.cos, BEYOND), (np.tan, POINTS), (np.arctan, BEYOND), (np.sinh, BEYOND),
    (np.cosh, BEYOND), (np.tanh, POINTS), (np.square, BEYOND), (np.reciprocal, BEYOND),
]  # fmt: skip


@pytest.mark.parametrize(("f", "x"), BY_COMPLEX_STEP, ids=lambda value: getattr(value, "__name__", ""))
def test_slopes_agree_with_complex_steps_to_rounding(f, x):
    exact = np.imag(f(x + 1e-40j)) / 1e-40
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(f(x)))(x), exact, rtol=1e-13)


BY_FORMULA = [
    ("arcsin near 1", np.arcsin, 1 - 1e-9, 1 / math.sqrt((1e-9 - 5e-19) * 2)),
    ("arcsinh far out", np.arcsinh, 1e200, 1e-200),
    ("arccosh far out", np.arccosh, 1e200, 1e-200),
    ("arccosh near 1", np.arccosh, 1 + 2.0**-40, 1 / math.sqrt(2.0**-40 * (2 + 2.0**-40))),
    ("arctanh near 1", np.arctanh, 1 - 2.0**-40, 1 / (2.0**-40 * (2 - 2.0**-40))),
    ("expm1 far below", np.expm1, -50.0, math.exp(-50.0)),
    ("arctan2 of small numbers", lambda a: np.arctan2(a, 1e-200), 1e-200, 0.5e200),
    ("arctan2 of large numbers", lambda a: np.arctan2(a, 1e200), 1e200, 0.5e-200),
    ("hypot of large numbers", lambda a: np.hypot(a, 4e200), 3e200, 0.6),
    ("sinc near 0", np.sinc, 1e-3, -(math.pi**2) * 1e-3 / 3 * (1 - (math.pi * 1e-3) ** 2 / 10)),
    ("i0 far out", lambda x: np.i0(x) * 1e-200, 600.0, 6.141181345066892e58),
]


@pytest.mark.parametrize(("name", "f", "x", "expected"), BY_FORMULA, ids=[case[0] for case in BY_FORMULA])
def test_slopes_are_exact_where_the_textbook_formula_is_not(name, f, x, expected):
    np.testing.assert_allclose(rt.grad(f)(x), expected, rtol=1e-12 if "near 1" not in name else 1e-7)


NOT_TAKEN = [
    ("sqrt", lambda x: np.where(x > 0, np.sqrt(x), 0), [0.0]),
    ("sqrt below 0", lambda x: np.where(x > 0, np.sqrt(x), 0), [-1.0, 0.0]),
    ("log", lambda x: np.where(x > 0, np.log(x), 0), [0.0, -1.0]),
    ("log2 and log10", lambda x: np.where(x > 0, np.log2(x) + np.log10(x), 0), [0.0]),
    ("log1p", lambda x: np.where(x > -1, np.log1p(x), 0), [-1.0]),
    ("reciprocal", lambda x: np.where(x > 0, np.reciprocal(x), 0), [0.0]),
    ("a quotient", lambda x: np.where(x > 0, 1 / x, 0), [0.0]),
    ("0 / 0", lambda x: np.where(x > 0, x / x, 0), [0.0]),
    ("cbrt", lambda x: np.where(x > 0, np.cbrt(x), 0), [0.0]),
    ("a fixed root", lambda x: np.where(x > 0, x**0.5, 0), [0.0, -1.0]),
    ("a fixed power", lambda x: np.where(x > 0, x**1.5, 0), [0.0, -1.0]),
    ("a fixed negative power", lambda x: np.where(x > 0, x**-1.5, 0), [0.0]),
    ("a power", lambda x: np.where(x > 0, x ** np.full(x.shape, 0.5), 0), [0.0]),
    ("arcsin and arccos", lambda x: np.where(x < 1, np.arcsin(x) + np.arccos(x), 0), [1.0]),
    ("arccosh", lambda x: np.where(x > 1, np.arccosh(x), 0), [1.0]),
    ("arctanh", lambda x: np.where(x < 1, np.arctanh(x), 0), [1.0]),
    ("exp", lambda x: np.where(x < 9, np.exp(x), 0), [1000.0]),
    ("expm1", lambda x: np.where(x < 9, np.expm1(x), 0), [1000.0]),
    ("exp2", lambda x: np.where(x < 9, np.exp2(x), 0), [5000.0]),
    ("sinh and cosh", lambda x: np.where(x < 9, np.sinh(x) + np.cosh(x), 0), [1000.0]),
    ("a logistic", lambda x: np.where(x < 9, np.exp(x) / (1 + np.exp(x)), 0), [1000.0]),
    ("log of a sum of -inf", lambda x: np.where(x > 0, np.logaddexp(-np.inf, x - np.inf), 0), [0.0]),
]


@pytest.mark.parametrize("mode", ["first", "second"])
@pytest.mark.parametrize(("name", "f", "x"), NOT_TAKEN, ids=[case[0] for case in NOT_TAKEN])
def test_a_branch_that_is_not_taken_gives_no_nan(name, f, x, mode):
    def program(x):
        with np.errstate(all="ignore"):
            return np.sum(f(x))

    gradient = rt.grad(program)
    with np.errstate(all="ignore"):
        if mode == "second":
            gradient = rt.grad(lambda x, first=gradient: np.sum(first(x)))
        np.testing.assert_array_equal(gradient(np.array(x)), np.zeros(len(x)))


def test_a_root_that_is_not_taken_gives_no_warning_either():
    for order in (rt.grad, lambda f: rt.grad(lambda x: np.sum(rt.grad(f)(x)))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(order(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0)))(np.zeros(2)), np.zeros(2))


def test_a_root_that_is_taken_at_0_has_an_infinite_slope():
    assert rt.grad(np.sqrt)(0.0) == math.inf
    assert rt.grad(np.cbrt)(0.0) == math.inf
    assert rt.grad(lambda x: x**0.5)(0.0) == math.inf
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(x ** np.array([0.5, -0.0, 1.0])))(np.zeros(3)), [math.inf, 0, 1])


SINGULAR = [
    ("abs of a complex 0", lambda x: np.abs(x + 0j), 0.0, 0.0),
    ("hypot at the origin", lambda x: np.hypot(x, x), 0.0, 0.0),
    ("arctan2 at the origin", lambda x: np.arctan2(x, x), 0.0, 0.0),
    ("the angle of 0", lambda x: np.angle(x * (1 + 1j)), 0.0, 0.0),
    ("0 to the 0", lambda x: x**0.0, 0.0, 0.0),
    ("0 to a traced power", lambda b: np.zeros(()) ** b, 2.0, 0.0),
    ("logaddexp of -inf and -inf", lambda x: np.logaddexp(-np.inf, x - np.inf), 0.0, 0.0),
    ("logaddexp of -inf", lambda x: np.logaddexp(-np.inf, x), 0.3, 1.0),
    ("logaddexp of inf", lambda x: np.logaddexp(np.inf, x), 0.3, 0.0),
    ("maximum of equal numbers", lambda x: np.maximum(x, 1.0), 1.0, 0.5),
    ("fmin of equal numbers", lambda x: np.fmin(x, 1.0), 1.0, 0.5),
    ("fmax of NaN and a number", lambda x: np.fmax(x, np.nan), 1.0, 1.0),
    ("clip on the edge", lambda x: np.clip(x, 1.0, 2.0), 1.0, 0.5),
    ("heaviside", lambda h: np.heaviside(0.0, h), 0.5, 1.0),
    ("nan_to_num of infinity", lambda x: np.nan_to_num(x), np.inf, 0.0),
]


@pytest.mark.parametrize(("name", "f", "x", "expected"), SINGULAR, ids=[case[0] for case in SINGULAR])
def test_singular_points_have_their_stated_slope(name, f, x, expected):
    assert rt.grad(f)(x) == expected


def test_a_flat_tanh_stays_flat():
    assert rt.grad(rt.grad(np.tanh))(1000.0) == 0.0


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_sinc_and_i0_have_exact_derivatives_of_every_order_at_0(order):
    sinc, bessel = np.sinc, np.i0
    for _ in range(order):
        sinc, bessel = rt.grad(sinc), rt.grad(bessel)
    even = order % 2 == 0
    np.testing.assert_allclose(sinc(0.0), (-1) ** (order // 2) * math.pi**order / (order + 1) if even else 0.0, rtol=1e-14)
    np.testing.assert_allclose(bessel(0.0), math.comb(order, order // 2) / 2**order if even else 0.0, rtol=1e-14)


REFUSED = [
    ("nextafter", lambda x: np.nextafter(x, 1.0), rt.MissingRuleError, "neighbouring"),
    ("nextafter by reduce", lambda x: np.nextafter.reduce(x), rt.MissingRuleError, "stop_gradient"),
    ("the larger of two complex numbers", lambda x: np.maximum(x + 1j, 0), rt.MissingRuleError, "np.where"),
    ("a plain out=", lambda x: (lambda z: np.sin(x, out=z) + z)(np.zeros(3)), rt.NotDifferentiableError, "zeros_like"),
    ("a plain out= of a fold", lambda x: np.hypot.reduce(x, out=np.zeros(())), rt.NotDifferentiableError, "zeros_like"),
    ("an update of a plain array", lambda x: np.multiply.at(np.zeros(3), [0], x[0]), rt.NotDifferentiableError, "zeros_like"),
    ("a cast to text", lambda x: x.astype(str), rt.MissingRuleError, "cast"),
    ("a dtype that loses digits", lambda x: np.add(x, 1, dtype=int), TypeError, "same_kind"),
    ("a cast that is not safe", lambda x: np.add(x, 1, dtype=np.float32, casting="safe"), TypeError, "safe"),
    ("out= of another kind", lambda x: np.add(x, 1, out=np.zeros_like(x, dtype=int)), TypeError, "float64"),
    ("out= too small", lambda x: np.add(x, np.ones((2, 3)), out=np.zeros_like(x)), ValueError, "more dimensions"),
    ("a mask of numbers", lambda x: np.add(x, 1, where=np.ones(3)), TypeError, "safe"),
    ("an unknown keyword", lambda x: np.add(x, 1, wher=True), TypeError, "wher"),
    ("an axis that is not there", lambda x: np.hypot.reduce(x, axis=1), ValueError, "axis"),
    (
        "a fold over two axes that is not reorderable",
        lambda x: np.divide.reduce(np.outer(x, x), axis=None),
        ValueError,
        "reorder",
    ),
    ("a fold of nothing", lambda x: np.fmax.reduce(x[:0]), ValueError, "identity"),
    ("a masked fold without a start", lambda x: np.fmax.reduce(x, where=MASK[0]), ValueError, "initial"),
    ("a running fold of a number", lambda x: np.hypot.accumulate(x[0]), TypeError, "scalar"),
    ("an index beyond the end", lambda x: np.multiply.reduceat(x, [0, 3]), IndexError, "out-of-bounds"),
    ("an update beyond the end", lambda x: np.multiply.at(x, [3], 2.0), IndexError, "out of bounds"),
    ("clip with bounds given twice", lambda x: np.clip(x, 0, 1, min=0), ValueError, "forbidden"),
    ("where with one value", lambda x: np.where(x > 0, x), ValueError, "neither"),
    ("i0 of complex numbers", lambda x: np.i0(x + 1j), TypeError, "complex"),
]


@pytest.mark.parametrize(("name", "f", "error", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_refused_says_why(name, f, error, message):
    with pytest.raises(error, match=message):
        rt.grad(lambda x: np.sum(np.real(f(x * 1.0))))(np.array([0.3, -0.4, 0.5]))


def test_a_masked_ufunc_without_out_is_0_where_the_mask_leaves_out():
    y, pullback = rt.vjp(lambda x: np.sqrt(x, where=x > 0, out=None), np.array([4.0, -1.0]))
    np.testing.assert_array_equal(y, [2.0, 0.0])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0.25, 0.0])


def test_a_masked_ufunc_leaves_the_gradient_of_its_target_where_the_mask_leaves_out():
    def program(x, target):
        target = target * 1.0
        np.multiply(x, 3.0, out=target, where=np.array([True, False]))
        return np.sum(target)

    x, target = rt.grad(program, (0, 1))(np.ones(2), np.ones(2))
    np.testing.assert_array_equal(x, [3.0, 0.0])
    np.testing.assert_array_equal(target, [0.0, 1.0])


def test_a_write_through_a_part_of_a_complex_array_reaches_it():
    def program(x):
        y = x * (1 + 1j)
        y.real[0] = 0.0
        return np.sum(np.real(y) + 2 * np.imag(y))

    np.testing.assert_array_equal(rt.grad(program)(np.ones(2)), [2.0, 3.0])


@pytest.mark.parametrize("ufunc", [row[0] for row in UNARY], ids=lambda ufunc: ufunc.__name__)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_every_precision_is_kept(ufunc, dtype):
    x = np.array([1.25, 1.5], dtype) if ufunc is np.arccosh else np.array([0.25, 0.5], dtype)
    y, pullback = rt.vjp(ufunc, x)
    assert y.dtype == ufunc(x).dtype
    assert pullback(np.ones_like(y))[0].dtype == dtype


class Labelled:
    """An array with a label, as xarray has it: it carries out what it meets on the array inside."""

    def __init__(self, data):
        self.data = data

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return Labelled(getattr(ufunc, method)(*(a.data if isinstance(a, Labelled) else a for a in inputs), **keywords))

    def __radd__(self, other):
        return Labelled(other + self.data)

    def __rmul__(self, other):
        return Labelled(other * self.data)

    def __rpow__(self, other):
        return Labelled(other**self.data)

    def __rmatmul__(self, other):
        return Labelled(other @ self.data)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, c: x + c, [1.0, 1.0]),
        (lambda x, c: x * c, [2.0, 3.0]),
        (lambda x, c: x**c, [2.0, 12.0]),
        (lambda x, c: x @ c, [2.0, 3.0]),
        (np.multiply, [2.0, 3.0]),
        (np.matmul, [2.0, 3.0]),
        (np.power, [2.0, 12.0]),
        (lambda x, c: np.multiply(c, x), [2.0, 3.0]),
    ],
)
def test_an_object_with_array_ufunc_of_its_own_carries_out_what_it_meets(function, expected):
    def loss(x):
        y = function(x, Labelled(np.array([2.0, 3.0])))
        assert type(y) is Labelled
        return np.sum(y.data)

    assert rt.grad(loss)(np.array([1.0, 2.0])).tolist() == expected


def test_an_object_that_opts_out_of_ufuncs_is_not_taken_for_a_number():
    class Unit:
        __array_ufunc__ = None

        def __rmul__(self, other):
            return other + other

    assert rt.grad(lambda x: np.sum(x * Unit()))(np.ones(2)).tolist() == [2.0, 2.0]

    def loss(x):
        y = 3 * x
        y *= Unit()
        return np.sum(y)

    assert rt.grad(loss)(np.ones(2)).tolist() == [6.0, 6.0]
    with pytest.raises(TypeError):
        rt.grad(lambda x: np.sum(x + Unit()))(np.ones(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_a_quotient_has_the_same_bits_of_gradient_with_and_without_a_budget(dtype):
    a = np.array([0.0, 1.5, -2.0, 1e-30, 3.0], dtype)
    b = np.array([2.0, -0.5, 7.0, 1e30, 3.0], dtype)
    constant = np.array([1.0, -3.0, 0.7, 2.0, 0.1], dtype)
    programs = [
        lambda a, b: a / b, lambda a, b: a / 1.7 + b, lambda a, b: a / -3 + b, lambda a, b: 1.7 / b + a,
        lambda a, b: a / constant + b, lambda a, b: constant / b + a, lambda a, b: (a / b) / (b / constant),
        lambda a, b: a[:1] / b + a / np.float32(3.0), lambda a, b: np.where(np.real(a) > 1, a / b, 0.0),
    ]  # fmt: skip
    for program in programs:
        loss = lambda a, b, program=program: np.sum(np.real(program(a, b)) * constant.real)  # noqa: E731
        plain = rt.grad(loss, argnums=(0, 1))(a, b)
        bounded = rt.grad(loss, argnums=(0, 1), memory_budget="64MiB")(a, b)
        for one, other in zip(plain, bounded, strict=True):
            assert one.dtype == dtype
            assert one.tobytes() == other.tobytes()


def test_the_divisor_of_a_traced_array_is_guarded_while_the_program_runs():
    def loss(x, c):
        y = np.sum(x / c)
        c[0] = 5.0
        return y

    with pytest.raises(ValueError, match="read-only"):
        rt.grad(loss)(np.ones(2), np.ones(2))


def test_quotients_at_zero_and_in_nested_transforms():
    def masked(x):
        return np.sum(np.where(x > 0, 1 / np.where(x > 0, x, 1.0), 0.0) + np.where(x > 0, x / x, 0.0))

    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(rt.grad(masked)(np.array([0.0, 2.0])), [0.0, -0.25])
    x, c = np.array([1.3, 0.7]), np.array([2.0, 3.0])
    rt.check_grads(lambda x, y: x / y + 2.0 / x + y / 3 + c / x + x / c, x, c + 0.5, order=2)
