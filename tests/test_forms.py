"""Every form of every differentiable NumPy function: value, reverse, forward, second order, dtype, and under a budget."""

import functools
import importlib
import pkgutil

import forms
import numpy as np
import optree
import pytest

import retape as rt
from retape.runtime import landing
from retape.scheduler import buffers

FORMS = [
    form
    for module in sorted(pkgutil.iter_modules(forms.__path__), key=lambda m: m.name)
    for form in importlib.import_module(f"forms.{module.name}").FORMS
]


def each(forms, *, one_in=1):
    """A test of each form; of those that are much alike, all but one in so many are slow."""
    marked = [pytest.param(form, marks=_marks(form, number % one_in > 0)) for number, form in enumerate(forms)]
    return pytest.mark.parametrize("form", marked, ids=lambda form: f"{form.covers}: {form.text}")


def _marks(form, is_slow):
    wrong = form.covers in forms.WRONG_IN_NUMPY
    marks = [pytest.mark.skip(reason=f"{form.covers} is wrong in NumPy on this processor")] if wrong else []
    return [*marks, pytest.mark.slow] if is_slow else marks


each_form = each(FORMS)


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


@each(FORMS, one_in=3)
def test_forward_mode_agrees_with_finite_differences_at_every_order(form):
    rt.check_grads(form.f, *form.args, order=form.order, tolerance=form.tolerance, modes=["fwd"])


@each(FORMS, one_in=5)
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


@each([form for form in FORMS if form.closed])
def test_gradients_agree_with_closed_forms_to_rounding(form):
    gradient = rt.grad(lambda *a: sum(np.sum(np.real(y)) for y in leaves(form.f(*a))))(*form.args)
    np.testing.assert_allclose(gradient, form.closed(*form.args), rtol=1e-13, atol=1e-14)


@each([form for form in FORMS if form.float32], one_in=5)
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


@each(FORMS, one_in=5)
def test_a_budget_changes_no_bit(form):
    argnums = tuple(range(len(form.args)))
    plain = rt.grad(lambda *a: total(form, *a), argnums)(*form.args)
    budgeted = rt.grad(lambda *a: total(form, *a), argnums, memory_budget="64MiB")
    for _ in range(2):
        for a, b in zip(plain, budgeted(*form.args), strict=True):
            np.testing.assert_array_equal(b, a)


SCALES = (1.0, 1.01, 0.985)
# These need one value where a batch has many.
UNBATCHED = {
    ("retape.numpy.vectorize", "with a branch"),
    ("numpy.ndarray.flat", "through a mask"),
    ("numpy.ndarray.__contains__", "a number"),
    ("numpy.greater", "into a plain array"),
}
BATCHED = [form for form in FORMS if (form.covers, form.text) not in UNBATCHED]


def examples(form):
    """The arguments of three examples."""
    return [tuple(np.multiply(a, scale) for a in form.args) for scale in SCALES]


def batched(form):
    return tuple(np.stack(arrays) for arrays in zip(*examples(form), strict=True))


def assert_those_of_a_loop(made, looped):
    expected = [np.stack(column) for column in zip(*map(leaves, looped), strict=True)]
    assert_alike(made, expected)


def assert_alike(made, expected):
    made, expected = leaves(made), leaves(expected)
    assert len(made) == len(expected)
    for a, b in zip(made, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.result_type(a) == np.result_type(b)
        size = np.max(np.abs(b), initial=1, where=np.isfinite(b)) if np.size(b) else 1
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * size)


@each(BATCHED, one_in=5)
def test_a_batch_of_examples_has_the_values_of_each(form):
    assert_those_of_a_loop(rt.vmap(form.f)(*batched(form)), [form.f(*example) for example in examples(form)])


@pytest.mark.slow
@each(BATCHED)
def test_derivatives_of_a_batch_are_those_of_each_example(form):
    argnums = tuple(range(len(form.args)))
    gradient = rt.grad(functools.partial(total, form), argnums)
    looped = [gradient(*example) for example in examples(form)]
    assert_those_of_a_loop(rt.vmap(gradient)(*batched(form)), looped)
    summed = rt.grad(lambda *a: np.sum(rt.vmap(functools.partial(total, form))(*a)), argnums)
    with np.errstate(over="ignore"):  # some values are the largest that there are
        assert_those_of_a_loop(summed(*batched(form)), looped)

    def along(*args):
        directions = [np.cos(np.arange(np.size(a)).reshape(np.shape(a))).astype(a.dtype) for a in args]
        return rt.jvp(form.f, args, directions)[1]

    assert_those_of_a_loop(rt.vmap(along)(*batched(form)), [along(*example) for example in examples(form)])


@pytest.mark.slow
@each_form
def test_a_jacobian_by_batches_is_that_by_single_rows_and_columns(form):
    argnums = tuple(range(len(form.args)))
    for mode in ("reverse", "forward"):
        made = rt.jacobian(form.f, argnums, mode=mode, batch_size=5)(*form.args)
        assert_alike(made, rt.jacobian(form.f, argnums, mode=mode, batch_size=1)(*form.args))


@pytest.mark.parametrize("form", [f for f in FORMS if (f.covers, f.text) in UNBATCHED], ids=lambda form: form.covers)
def test_a_form_that_needs_one_value_raises_for_a_batch(form):
    with pytest.raises(rt.BatchedValueError):
        rt.vmap(form.f)(*batched(form))


@each(FORMS, one_in=8)
def test_gradients_land_in_memory_of_the_callers_with_the_same_bits(form, monkeypatch):
    monkeypatch.setattr(landing, "LEAST_BYTES", 0)  # written there, however small
    monkeypatch.setattr(buffers, "SMALLEST", 0)
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
                np.testing.assert_array_equal(b, a)
