"""A Python number that is differentiated has, beside arrays, the dtypes that NumPy gives a plain one."""

import numpy as np
import pytest

import retape as rt

REAL = {
    "a product": lambda s, x: x * s,
    "a reflected product": lambda s, x: s * x,
    "a sum of arithmetic": lambda s, x: x + (2 * s - s / 3.0 + s**2),
    "a difference": lambda s, x: s - x,
    "a quotient": lambda s, x: s / x,
    "a power": lambda s, x: x**s,
    "a base": lambda s, x: s**x,
    "a remainder": lambda s, x: x % s,
    "what is left of a division": lambda s, x: x // s,
    "both of a division": lambda s, x: divmod(x, s)[1],
    "the negative": lambda s, x: x * -s,
    "the absolute value": lambda s, x: x * abs(s),
    "what is rounded": lambda s, x: x * round(s, 1),
    "a sum in place": lambda s, x: added(s, x),
    "itself": lambda s, x: s,
    "a number of numbers": lambda s, x: s * s + 1,
    "a function of it": lambda s, x: np.sin(s) * x,
    "the negative as a function": lambda s, x: np.negative(s) * x,
    "a product as a function": lambda s, x: np.multiply(s, s) * x,
    "a function of number and array": lambda s, x: np.multiply(s, x),
    "a function of array and number": lambda s, x: np.add(x, s),
    "a quotient as a function": lambda s, x: np.divide(s, x),
    "of numbers a quotient as a function": lambda s, x: np.divide(s, 2.0) * x,
    "a power as a function": lambda s, x: np.power(x, s),
    "the larger": lambda s, x: np.maximum(x, s),
    "the larger of numbers": lambda s, x: np.maximum(s, 1.0) * x,
    "a length": lambda s, x: np.hypot(s, x),
    "a choice": lambda s, x: np.where(x > 1, s, x),
    "a choice of numbers": lambda s, x: np.where(x > 1, s, 0.0) * x,
    "within bounds": lambda s, x: np.clip(x, 0.0, s),
    "where a mask says": lambda s, x: np.add(x, s, out=np.zeros_like(x * s), where=x > 1),
    "in a dtype": lambda s, x: np.multiply(s, x, dtype=np.float64),
    "an outer product": lambda s, x: np.multiply.outer(x, s),
    "an inner product": lambda s, x: np.dot(x, s),
    "an array of it": lambda s, x: rt.numpy.asarray(s) * x,
    "an array like another": lambda s, x: np.full_like(x, s),
    "a reshape": lambda s, x: np.reshape(s, (1,)) * x,
    "a reshape to no axes": lambda s, x: np.reshape(s, ()) * x,
    "a copy": lambda s, x: np.copy(s) * x,
    "a NumPy scalar": lambda s, x: (s * np.float32(2.0)) + x,
    "a NumPy scalar of its own size": lambda s, x: (s * np.float64(2.0)) * x,
    "an array without axes": lambda s, x: (s + np.array(2.0, "f4")) * x,
    "an integer array": lambda s, x: s * np.arange(3) + x,
    "a truth": lambda s, x: s * True * x,
    "a Python complex number": lambda s, x: (s + 1j) * x,
    "a constant": lambda s, x: rt.stop_gradient(s) * x,
    "a comparison": lambda s, x: (x > s) * x,
    "a sum of itself": lambda s, x: sum([s, s]) * x,
    "the larger in Python": lambda s, x: max(s, 0.5) * x,
}
ORDERED = ("the larger", "within bounds")  # which of complex numbers have no rule
WRITTEN = ("a sum in place", "an array like another", "where a mask says")  # into a plain array: an error
COMPLEX = {
    "a product": lambda s, x: x * s,
    "the real part": lambda s, x: s.real * x,
    "the imaginary part": lambda s, x: x + s.imag,
    "the conjugate": lambda s, x: x * s.conjugate(),
    "the absolute value": lambda s, x: x * abs(s),
    "a choice": lambda s, x: np.where(np.abs(x) > 1, s, x),
}


def added(s, x):
    total = x * 1
    total += s
    s += 1.0
    return total * s


def dtypes_in(f, s, x, transform):
    """The dtypes that the result of `f` has within a transform."""
    seen = []

    def loss(s, x):
        y = f(s, x)
        seen.append(getattr(y, "dtype", None) or np.result_type(y))
        return np.real(np.sum(y * 1))

    transform(loss, s, x)
    return set(seen)


TRANSFORMS = {
    "reverse": lambda f, s, x: rt.vjp(f, s, x),
    "forward": lambda f, s, x: rt.jvp(f, (s, x), (s, x)),
    "recording": lambda f, s, x: rt.record(f, s, x),
    "a check of what is finite": lambda f, s, x: rt.check_finite(f, s, x),
    "a budget": lambda f, s, x: rt.grad(f, (0, 1), memory_budget="1MiB")(s, x),
    "a checkpoint": lambda f, s, x: rt.grad(rt.checkpoint(f), (0, 1))(s, x),
    "two reverse sweeps": lambda f, s, x: rt.vjp(lambda s, x: rt.vjp(f, s, x)[0], s, x),
    "forward over reverse": lambda f, s, x: rt.jvp(lambda s, x: rt.grad(f, (0, 1))(s, x), (s, x), (s, x)),
    "the number alone": lambda f, s, x: rt.grad(lambda s: f(s, x))(s),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_the_dtypes_beside_a_python_number_are_those_of_numpy(transform, dtype):
    x = np.array([0.5, 1.25, 2.0], dtype)
    wrong = {}
    for table, s in ((REAL, 1.5), (COMPLEX, 1.5 - 0.5j)):
        for name, f in table.items():
            if x.dtype.kind == "c" and name in ORDERED or transform == "the number alone" and name in WRITTEN:
                continue
            try:
                plain = f(s, x)
            except TypeError:  # a remainder of complex numbers
                continue
            expected = {np.result_type(plain)}
            found = dtypes_in(f, s, x, TRANSFORMS[transform])
            if found != expected:
                wrong[name] = found, expected
    assert not wrong


def test_the_gradient_of_a_python_number_is_float64_and_that_of_the_array_has_its_dtype():
    x = np.array([0.5, 1.25], np.float32)
    for budget in (None, "1MiB"):
        value, (ds, dx) = rt.value_and_grad(lambda s, x: np.sum(x * s), (0, 1), memory_budget=budget)(2.0, x)
        assert (value.dtype, ds.dtype, dx.dtype) == (np.float32, np.float64, np.float32)
        assert ds == 1.75 and dx.tolist() == [2.0, 2.0]


def test_a_function_with_a_rule_of_its_own_is_given_python_numbers():
    times = rt.custom_vjp(lambda s, x: s * x)
    times.defvjp(lambda s, x: (s * x, (s, x)), lambda kept, g: (np.sum(g * kept[1]), g * kept[0]))
    x = np.array([0.5, 1.25], np.float32)
    value, (ds, dx) = rt.value_and_grad(lambda s, x: np.sum(times(s, x)), (0, 1))(2.0, x)
    assert (value.dtype, ds.dtype, dx.dtype) == (np.float32, np.float64, np.float32)


@pytest.mark.parametrize("infer", [None, lambda s, x: np.empty(x.shape, np.result_type(x, s))])
@pytest.mark.parametrize("budget", [None, "1MiB"])
def test_a_primitive_is_given_python_numbers(infer, budget):
    times = rt.primitive(lambda s, x: s * x, infer=infer)
    times.defvjp(lambda g, x: np.sum(g * x), lambda g, s: g * s)
    x = np.array([0.5, 1.25], np.float32)
    value, (ds, dx) = rt.value_and_grad(lambda s, x: np.sum(times(s, x)), (0, 1), memory_budget=budget)(2.0, x)
    assert (value.dtype, ds.dtype, dx.dtype) == (np.float32, np.float64, np.float32)
    assert ds == 1.75 and dx.tolist() == [2.0, 2.0]
    times.defjvp(lambda t, x: t * x, lambda t, s: s * t)
    value, slope = rt.jvp(lambda s: np.sum(times(s, x)), (2.0,), (1.0,))
    assert (value.dtype, slope.dtype, slope) == (np.float32, np.float32, 1.75)
    grown = rt.grad(rt.grad(lambda s: np.sum(times(s, x) ** 2), memory_budget=budget))(2.0)
    assert grown == 2 * (0.25 + 1.5625)


def test_a_numpy_scalar_keeps_a_dtype_of_its_own():
    x = np.array([0.5, 1.25], np.float32)
    value, _ = rt.value_and_grad(lambda s, x: np.sum(x * s), (0, 1))(np.float64(2.0), x)
    assert value.dtype == np.float64


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8"])
def test_the_gradient_of_an_array_has_its_order_of_bytes(dtype):
    x = np.array([0.5, 1.25, 2.0], dtype)
    for f in (lambda x: x * 2.0 + x, lambda x: np.sin(x) * x, lambda x: x / x[0] - x, lambda x: 2 - x, lambda x: x[1:]):
        g = rt.grad(lambda x: np.sum(f(x)))(x)  # noqa: B023
        assert g.dtype == x.dtype and g.dtype.byteorder == x.dtype.byteorder
        native = np.array([0.5, 1.25, 2.0], dtype[1:])
        np.testing.assert_array_equal(g, rt.grad(lambda x: np.sum(f(x)))(native))  # noqa: B023


def test_the_derivatives_by_python_numbers_are_right_through_their_casts():
    x = np.array([0.5, 1.25, 2.0])
    rt.check_grads(lambda s, t: np.sum((x * s + t**2) ** s / (1 + s * t) - np.maximum(x, s * t)), 1.5, 0.75, order=2)


@pytest.mark.parametrize(
    "f", [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a / b, lambda a, b: b / a]
)
def test_a_real_and_a_complex_python_number_keep_their_kinds_in_both_modes(f):
    rt.check_grads(f, 0.7, 1.2 + 0.3j, order=2)
    pulled = rt.vjp(f, 0.7, 1.2 + 0.3j)[1](1.0 + 0.5j)
    assert [g.dtype for g in pulled] == [np.float64, np.complex128]
    inner = rt.grad(lambda a, b: np.real(np.sin(f(2.0 * a, b))), argnums=(0, 1))(0.7, 1.2 + 0.3j)
    assert [g.dtype for g in inner] == [np.float64, np.complex128]
