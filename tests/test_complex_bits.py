"""Single complex numbers under a budget: NumPy rounds the product of two numbers otherwise than that of two arrays."""

import numpy as np
import pytest

import retape as rt

PROGRAMS = {
    "products": lambda a, b: (a * b + 1.5) * a * (2 - b) - b * a * a,
    "quotients": lambda a, b: np.conj(a) * b / (a + b) * (3j / b),
    "powers": lambda a, b: a**b * b**3 + a**0.5 * b**-2 + np.square(a) * np.reciprocal(b),
    "exponentials": lambda a, b: np.exp(a) * np.exp2(b) + np.log(a) * np.expm1(b) * np.log1p(a),
    "circular functions": lambda a, b: np.sin(a * b) * np.tan(a) + np.arcsin(a) * np.arccos(b) * np.arctan(a),
    "hyperbolic functions": lambda a, b: np.cosh(a) * np.tanh(b) + np.arcsinh(a) * np.arccosh(b) * np.arctanh(a),
    "parts": lambda a, b: np.real(a) * b + np.imag(b) * a * 1j + np.abs(a) * np.exp(1j * np.angle(b)) * np.sign(a),
    "sums and products of both": lambda a, b: np.prod(np.stack([a * b, b, a])) * np.std(np.stack([a, b])) * a,
    "a choice": lambda a, b: np.where(np.real(a) > 0, a * b, b) * a,
}
FORMS = {
    "a number": np.complex128,
    "a single number": np.complex64,
    "an array without dimensions": np.asarray,
    "a Python number": complex,
    "an array of one": lambda z: np.asarray([z]),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_gradient_by_a_complex_number_has_the_same_bits_under_a_budget(program, form):
    def loss(a, b):
        return np.sum(np.real(program(a, b) * (0.3 - 0.7j)))

    plain, planned = rt.value_and_grad(loss, (0, 1)), rt.value_and_grad(loss, (0, 1), memory_budget="64MiB")
    for parts in np.random.default_rng(0).standard_normal((30, 4)):
        args = form(complex(*parts[:2])), form(complex(*parts[2:]))
        value, gradients = plain(*args)
        found, under_budget = planned(*args)
        np.testing.assert_array_equal(found, value)
        np.testing.assert_array_equal(under_budget, gradients)
