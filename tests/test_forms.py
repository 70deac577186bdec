"""Every form of every differentiable NumPy function: value, reverse, forward, second order, dtype, and under a budget."""

import importlib
import pkgutil

import forms
import numpy as np
import optree
import pytest

import retape as rt
from retape.runtime import landing
from retape.scheduler import actions

FORMS = [
    form
    for module in sorted(pkgutil.iter_modules(forms.__path__), key=lambda m: m.name)
    for form in importlib.import_module(f"forms.{module.name}").FORMS
]
each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.covers}: {form.text}")


def leaves(tree):
    return optree.tree_leaves(tree, namespace="retape")


def total(form, *args):
    """A scalar of the form's outputs with weights of no symmetry; real for complex outputs too."""
    result = 0.0
    for number, y in enumerate(leaves(form.f(*args))):
        weights = np.cos(np.arange(1.0, np.size(y) + 1.0) + number).reshape(np.shape(y)).astype(np.real(y).dtype)
        result = result + np.sum(np.real(y) * weights)
        if y.dtype.kind == "c":
            result = result + np.sum(np.imag(y) * np.flip(weights))
    return result


def test_no_form_stands_twice():
    names = [(form.covers, form.text) for form in FORMS]
    assert len(set(names)) == len(names)


@each_form
def test_values_are_those_of_plain_numpy(form):
    plain = leaves(form.f(*[np.array(a) for a in form.args]))
    traced = leaves(rt.vjp(form.f, *form.args)[0])
    assert len(plain) == len(traced)
    for a, b in zip(plain, traced, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.result_type(a) == np.result_type(b)
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


@each_form
def test_reverse_mode_agrees_with_finite_differences_at_every_order(form):
    rt.check_grads(form.f, *form.args, order=form.order, tolerance=form.tolerance, modes=["rev"])


@pytest.mark.skipif(not hasattr(rt, "jvp"), reason="no forward mode")
@each_form
def test_forward_mode_agrees_with_finite_differences_at_every_order(form):
    rt.check_grads(form.f, *form.args, order=form.order, tolerance=form.tolerance, modes=["fwd"])


@pytest.mark.skipif(not hasattr(rt, "jvp"), reason="no forward mode")
@each_form
def test_forward_and_reverse_agree_to_rounding(form):
    generator = np.random.default_rng(1)

    def like(x):
        made = generator.standard_normal(np.shape(x))
        return made + 1j * generator.standard_normal(np.shape(x)) if np.iscomplexobj(x) else made

    directions = tuple(like(a) for a in form.args)
    y, tangent = rt.jvp(form.f, form.args, directions)
    ys, pullback = rt.vjp(form.f, *form.args)
    cotangent = optree.tree_map(lambda leaf: like(leaf).astype(leaf.dtype), ys, namespace="retape")
    forward = sum(np.real(np.sum(w * t)) for w, t in zip(leaves(cotangent), leaves(tangent), strict=True))
    reverse = sum(np.real(np.sum(g * v)) for g, v in zip(pullback(cotangent), directions, strict=True))
    size = sum(np.sum(np.abs(w * t)) for w, t in zip(leaves(cotangent), leaves(tangent), strict=True))
    assert abs(forward - reverse) <= 1e-10 * max(1.0, size)


@pytest.mark.parametrize("form", [f for f in FORMS if f.closed], ids=lambda form: f"{form.covers}: {form.text}")
def test_gradients_agree_with_closed_forms_to_rounding(form):
    gradient = rt.grad(lambda *a: sum(np.sum(np.real(y)) for y in leaves(form.f(*a))))(*form.args)
    np.testing.assert_allclose(gradient, form.closed(*form.args), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("form", [f for f in FORMS if f.float32], ids=lambda form: f"{form.covers}: {form.text}")
def test_single_precision_stays_single(form):
    args = [a.astype(np.complex64 if a.dtype.kind == "c" else np.float32) for a in form.args]
    plain = leaves(form.f(*[a.copy() for a in args]))
    y, pullback = rt.vjp(form.f, *args)
    for a, b in zip(plain, leaves(y), strict=True):
        assert np.result_type(a) == np.result_type(b)
    gradients = pullback(optree.tree_map(lambda leaf: np.ones(np.shape(leaf), leaf.dtype), y, namespace="retape"))
    for a, g in zip(args, gradients, strict=True):
        assert g.dtype == a.dtype
    if all(np.result_type(a).itemsize == np.result_type(p).itemsize for a in args for p in plain):
        doubles = rt.vjp(form.f, *form.args)
        ones = optree.tree_map(lambda leaf: np.ones(np.shape(leaf), leaf.dtype), doubles[0], namespace="retape")
        for g, exact in zip(gradients, doubles[1](ones), strict=True):
            np.testing.assert_allclose(g, exact, rtol=2e-2, atol=2e-2 * max(1.0, float(np.max(np.abs(exact), initial=0))))


@each_form
def test_a_budget_changes_no_bit(form):
    argnums = tuple(range(len(form.args)))
    plain = rt.grad(lambda *a: total(form, *a), argnums)(*form.args)
    budgeted = rt.grad(lambda *a: total(form, *a), argnums, memory_budget="64MiB")
    for _ in range(2):
        for a, b in zip(plain, budgeted(*form.args), strict=True):
            # NumPy rounds the product of two single complex numbers otherwise than that of two arrays.
            np.testing.assert_allclose(b, a, rtol=1e-14 if a.dtype.kind == "c" else 0, atol=0)


@pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=[] if number % 8 == 0 else pytest.mark.slow) for number, form in enumerate(FORMS)],
    ids=lambda form: f"{form.covers}: {form.text}",
)
def test_gradients_land_in_memory_of_the_callers_with_the_same_bits(form, monkeypatch):
    monkeypatch.setattr(landing, "LEAST_BYTES", 0)  # written there, however small
    monkeypatch.setattr(actions, "SMALLEST", 0)
    argnums = tuple(range(len(form.args)))
    plain = rt.grad(lambda *a: total(form, *a), argnums)(*form.args)
    places = [np.empty(np.shape(a), np.result_type(a)) for a in form.args]
    for budget in (None, "64MiB"):
        step = rt.grad(lambda *a: total(form, *a), argnums, memory_budget=budget)
        for _ in range(2):
            told = []
            step.into(landing.Landing(places, lambda number, _, told=told: told.append(number)), *form.args)
            assert sorted(told) == list(argnums)
            for a, b in zip(plain, places, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-14 if budget and a.dtype.kind == "c" else 0, atol=0)
