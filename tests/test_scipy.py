"""SciPy on traced arrays: what is refused is refused aloud, singular points are exact, and SciPy stays optional."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import retape as rt

pytest.importorskip("scipy")

import scipy.linalg  # noqa: E402
import scipy.sparse  # noqa: E402
from scipy import special as plain  # noqa: E402

from retape.runtime import scipy as offered  # noqa: E402
from retape.runtime.errors import MissingRuleError, NotDifferentiableError  # noqa: E402
from retape.runtime.scipy import integrate, linalg, signal, sparse, special, stats  # noqa: E402

X = np.array([0.3, 1.2, 2.5])


def gradient(f, *args):
    return rt.grad(lambda *a: np.sum(f(*a)))(*args)


def test_importing_retape_does_not_import_scipy():
    code = "import sys, retape; assert not any(name.split('.')[0] == 'scipy' for name in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive", "jve", "kve", "hankel1e", "gammainc", "gammaincc", "struve"])
def test_a_derivative_in_an_order_is_refused(name):
    with pytest.raises(NotDifferentiableError, match=name):
        gradient(lambda v: np.real(getattr(plain, name)(v, X)), np.array([0.5, 1.5, 2.5]))


@pytest.mark.skipif(not hasattr(rt, "jvp"), reason="no forward mode")
@pytest.mark.parametrize("name", ["jv", "ive", "gammainc"])
def test_a_tangent_of_an_order_is_refused(name):
    v = np.array([0.5, 1.5, 2.5])
    with pytest.raises(NotDifferentiableError, match=name):
        rt.jvp(lambda v: getattr(plain, name)(v, X), (v,), (v,))


def test_an_order_whose_gradient_is_stopped_is_taken():
    wanted = gradient(lambda x: plain.jv(np.array([0.0, 1.0, 2.0]), x), X)
    got = gradient(lambda x: plain.jv(rt.stop_gradient(np.round(x)), x), X)
    assert got.shape == wanted.shape


def test_entropies_and_logarithms_are_exact_at_zero():
    zero, one = np.array([0.0]), np.array([1.0])
    assert gradient(lambda b: plain.xlogy(zero, b), zero) == 0
    assert gradient(lambda b: plain.rel_entr(zero, b), one) == 0
    assert gradient(lambda b: plain.kl_div(zero, b), one) == 1
    with np.errstate(divide="ignore"):
        masked = gradient(lambda x: np.where(x > 0, plain.entr(x), 0), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(masked, [0.0, -1.0])


def test_logsumexp_of_minus_infinity_and_of_large_numbers_is_exact():
    assert gradient(special.logsumexp, np.array([1e4, -np.inf])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("n", [1, 3, 6])
def test_rgamma_is_exact_at_the_poles_of_gamma(n):
    wanted = (-1.0) ** n * np.prod(np.arange(1.0, n + 1))
    np.testing.assert_allclose(gradient(plain.rgamma, np.array([-float(n)])), wanted, rtol=1e-13)


def test_the_slope_of_log_ndtr_keeps_its_digits_far_to_the_left():
    # Mills' ratio: the slope is -x to first order.
    x = -1e6
    np.testing.assert_allclose(gradient(plain.log_ndtr, np.array([x])), -x + -1 / x, rtol=1e-14)


def test_a_root_of_a_real_matrix_that_is_complex_is_refused():
    a = np.diag([-1.0, 2.0])
    with pytest.raises(NotDifferentiableError, match="complex"):
        gradient(linalg.sqrtm, a)


def test_forms_without_a_rule_raise():
    a = np.eye(3) + 0.1
    with pytest.raises(MissingRuleError, match="pivoting"):
        gradient(lambda x: linalg.qr(x, pivoting=True)[1], a)
    with pytest.raises(MissingRuleError, match="driver"):
        gradient(lambda x: linalg.lstsq(x, a, lapack_driver="gelsy")[0], a)
    with pytest.raises(MissingRuleError, match="moment"):
        gradient(lambda x: stats.norm.moment(2, x), X)
    with pytest.raises(MissingRuleError, match="frozen"):
        gradient(lambda x: stats.norm(x).logpdf(X), X)
    with pytest.raises(MissingRuleError, match="exact"):
        gradient(lambda x: special.comb(x, 2, exact=True), X)
    with pytest.raises(NotDifferentiableError):
        gradient(lambda a: stats.gamma.cdf(X, a), X)


def test_wrong_input_raises_what_scipy_raises():
    with pytest.raises(ValueError):
        gradient(lambda a: linalg.solve_triangular(a, np.ones(4)), np.eye(3))
    with pytest.raises(TypeError):
        gradient(lambda a: linalg.expm(a, bogus=1), np.eye(3))
    with pytest.raises(ValueError):
        gradient(lambda a: signal.convolve(a, np.ones((2, 2))), X)
    with pytest.raises(ValueError):
        gradient(lambda b: sparse.matmul(scipy.sparse.eye_array(4), b), X)


def test_functions_of_plain_arrays_are_those_of_scipy():
    a = np.eye(3) + 0.1
    np.testing.assert_array_equal(linalg.expm(a), scipy.linalg.expm(a))
    assert stats.norm.fit(X) == scipy.stats.norm.fit(X)
    assert special.erf is plain.erf


def test_a_product_with_a_sparse_matrix_never_loses_a_gradient():
    a = scipy.sparse.csr_array(np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(NotDifferentiableError):
        gradient(lambda x: a @ x, X)


def test_a_product_with_a_sparse_matrix_on_the_right_needs_no_patch():
    a = scipy.sparse.csr_array(np.diag([1.0, 2.0, 3.0]))
    for matrix in (a, scipy.sparse.csc_matrix(a)):
        assert gradient(lambda x, m=matrix: x @ m, X).tolist() == [1.0, 2.0, 3.0]
        assert gradient(lambda x, m=matrix: np.matmul(x, m), X).tolist() == [1.0, 2.0, 3.0]
    for function in (lambda x: x * a, lambda x: x / a, lambda x: x + a, lambda x: x - a):
        with pytest.raises((NotDifferentiableError, TypeError)):
            gradient(function, X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: scipy.linalg.expm(x[:, None] * x),
            r"scipy.linalg.expm, .*\(test_scipy.py:\d+\): call retape.scipy.linalg.expm",
        ),
        (lambda x: plain.logsumexp(x), r"\(test_scipy.py:\d+\): call retape.scipy.special.logsumexp in its place"),
        (
            lambda x: scipy.linalg.hadamard(4) @ scipy.linalg.leslie(x, x[1:]),
            "leslie, .*: compose it of functions that have a rule",
        ),
    ],
)
def test_a_function_of_scipys_as_it_stands_names_what_to_call_and_the_users_line(function, message):
    with pytest.raises(NotDifferentiableError, match=message):
        gradient(function, X)


def test_the_short_names_are_those_of_the_same_modules():
    names = ("numpy", "random", "scipy", "scipy.linalg")
    assert [importlib.import_module(f"retape.{name}") for name in names] == [rt.numpy, rt.random, offered, linalg]
    assert linalg.__spec__.name == linalg.__name__
    with pytest.raises(ModuleNotFoundError, match="retape.scipy.nothing"):
        importlib.import_module("retape.scipy.nothing")


def test_every_patch_names_what_it_replaces():
    from retape.runtime.scipy.replace import owner_of

    names = [(module, name) for module, functions in offered.PATCHES.items() for name in functions]
    assert len(names) > 80
    for module, name in names:
        owner, attribute = owner_of(module, name)
        assert hasattr(owner, attribute)


def test_patched_scipy_works_on_traced_arrays_and_on_plain_ones(monkeypatch):
    from retape.runtime.scipy.replace import owner_of

    for module, functions in offered.PATCHES.items():
        for name, function in functions.items():
            owner, attribute = owner_of(module, name)
            monkeypatch.setattr(owner, attribute, function)
    a = scipy.sparse.csr_array(np.diag([1.0, 2.0, 3.0]))
    assert gradient(lambda x: a @ x, X).tolist() == [1.0, 2.0, 3.0]
    assert gradient(lambda x: a.dot(x), X).tolist() == [1.0, 2.0, 3.0]
    assert (a @ X).tolist() == (a.toarray() @ X).tolist()
    assert gradient(lambda m: scipy.linalg.expm(m), np.zeros((2, 2))).tolist() == np.ones((2, 2)).tolist()
    np.testing.assert_allclose(gradient(lambda x: scipy.stats.norm.logpdf(x), X), -X)


def test_a_traced_value_in_the_closure_of_a_right_hand_side_is_refused():
    def solved(pull):
        return integrate.odeint(lambda y, t: -pull * y, np.ones(2) * rt.stop_gradient(pull), np.array([0.0, 1.0]))

    with pytest.raises(Exception):  # noqa: B017
        gradient(solved, np.array(0.3))


def test_no_module_stands_before_a_function_of_scipy_special_of_its_name():
    for name in plain.__all__:
        assert callable(getattr(special, name)) or not callable(getattr(plain, name)), name
