"""What of NumPy is differentiated: nothing is unknown, the page is what the code says, and every keyword does as it says."""

import inspect
from pathlib import Path

import calls
import numpy as np
import pytest
from calls import functions, methods, ufuncs
from forms import WRONG_IN_NUMPY

import retape as rt
from retape.runtime.coverage import __main__ as command
from retape.runtime.coverage import entries, load_forms, reasons
from retape.runtime.coverage.reasons import COMPOSED, CONSTANT, NOT_APPLICABLE, NOT_DIFFERENTIABLE, RULE, UNKNOWN
from retape.runtime.coverage.table import (
    full_name,
    named,
    of_ufunc,
    of_ufunc_method,
    overridable_attributes,
    overridable_functions,
    overridable_ufuncs,
)

TESTS = Path(__file__).parent
FORMS = load_forms(TESTS)
SECTIONS = entries(FORMS)
ROWS = [row for rows in SECTIONS.values() for row in rows]
BY_NAME = {row.name: row for row in ROWS}
IS_PAGE_OF = np.__version__.startswith("2.4.")
# NumPy deprecates some of what is called here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def names(*kinds):
    return [row.name for row in ROWS if row.kind in kinds]


@pytest.mark.skipif(not IS_PAGE_OF, reason="other versions of NumPy have other functions")
def test_every_function_method_and_attribute_is_classified():
    assert names(UNKNOWN) == []
    assert {full_name(f) for f in [*overridable_ufuncs(), *overridable_functions()]} <= set(BY_NAME)
    assert {f"numpy.ndarray.{name}" for name in dir(np.ndarray) if not name.startswith("_")} <= set(BY_NAME)
    for ufunc in overridable_ufuncs():
        assert {f"{full_name(ufunc)}.{method}" for method in dir(ufunc) if method in ("reduce", "accumulate", "reduceat",
                "outer", "at")} <= set(BY_NAME)  # fmt: skip


@pytest.mark.skipif(not IS_PAGE_OF, reason="counted in NumPy 2.4")
def test_as_many_are_classified_as_numpy_hands_over():
    assert len(overridable_ufuncs()) == 127
    assert len(overridable_functions()) == 348


@pytest.mark.skipif(not IS_PAGE_OF, reason="other versions of NumPy have other functions")
def test_every_reason_is_about_something_that_there_is():
    assert set(reasons.FUNCTIONS) <= set(BY_NAME)
    assert set(reasons.REFUSED) <= set(BY_NAME)
    assert set(reasons.ATTRIBUTES) | set(reasons.OPERATORS) <= set(overridable_attributes())
    assert set(reasons.UFUNCS) <= {ufunc.__name__ for ufunc in overridable_ufuncs()}


@pytest.mark.skipif(not IS_PAGE_OF, reason="the page is for NumPy 2.4")
def test_the_page_is_what_the_code_says(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["coverage", "--write", str(tmp_path / "docs" / "coverage.md")])
    command.main()
    made = (tmp_path / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert made == (TESTS.parent / "docs" / "coverage.md").read_text(encoding="utf-8"), "run make docs"


@pytest.mark.skipif(not IS_PAGE_OF, reason="the page is for NumPy 2.4")
def test_the_readme_counts_as_the_table_does():
    text = " ".join((TESTS.parent / "README.md").read_text(encoding="utf-8").split())
    rows = SECTIONS["Ufuncs"], SECTIONS["Array functions"]
    total, derived, constant = (
        [sum(row.kind in kinds for row in section) for section in rows]
        for kinds in ((RULE, COMPOSED, CONSTANT, NOT_DIFFERENTIABLE, NOT_APPLICABLE), (RULE, COMPOSED), (CONSTANT,))
    )
    assert f"of the {total[0]} ufuncs and {total[1]} functions that NumPy 2.4 hands over" in text
    assert (
        f"{derived[0]} and {derived[1]} have derivatives and {constant[0]} and {constant[1]} are piecewise constant" in text
    )


def test_a_folder_without_forms_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["coverage", "--tests", str(tmp_path)])
    with pytest.raises(SystemExit):
        command.main()
    assert "--tests" in capsys.readouterr().err


def test_whatever_has_a_rule_has_a_form():
    assert [name for name in names(RULE, COMPOSED) if not BY_NAME[name].forms] == []


def test_every_form_covers_something_that_there_is():
    for name in {form.covers for form in FORMS if form.covers.startswith("numpy.")}:
        named(name)


def right(name, label, outcomes, allowed=lambda who: False):
    """Fail for an outcome that is wrong, and for a call that raises without being named as one that does."""
    refused = set(BY_NAME[name].refused)
    for who, outcome in outcomes:
        if outcome.startswith("refused: ") and label in refused:
            continue
        if outcome.startswith(("refused: ", "raised: ")) and allowed(who):
            continue
        assert outcome == "right", f"{name} {label} by {', '.join(who)}"


def alone(who):
    return len(who) == 1 and who[0] in calls.NOT_HANDED_OVER


CALLED = [name for name in BY_NAME if name in functions.CALLS]


def test_every_function_that_can_be_called_is():
    wanted = [full_name(f) for f in overridable_functions()]
    missing = {n for n in wanted if BY_NAME[n].kind in (RULE, COMPOSED, CONSTANT)} - set(CALLED)
    assert missing == set()


@pytest.mark.parametrize("name", CALLED)
def test_functions_are_right_with_every_keyword(name):
    function = named(name)
    for label, args, keywords in calls.calls(function, *functions.CALLS[name]):
        is_writer = name in functions.WRITERS
        outcomes = calls.probe(
            function,
            args,
            keywords,
            writes=is_writer,
            by_difference=name not in functions.JUMPING,
            values=name not in functions.UNSET,
        )
        right(name, label, outcomes, alone)


DIFFERENTIABLE_UFUNCS = [u for u in overridable_ufuncs() if of_ufunc(u).kind in (RULE, COMPOSED, CONSTANT)]
each_ufunc = pytest.mark.parametrize("ufunc", DIFFERENTIABLE_UFUNCS, ids=lambda ufunc: ufunc.__name__)


@each_ufunc
def test_ufuncs_are_right_with_every_keyword(ufunc):
    for label, keywords in ufuncs.keywords(ufunc):
        right(full_name(ufunc), label, calls.probe(ufunc, ufuncs.operands(ufunc), keywords))


@each_ufunc
def test_methods_of_ufuncs_are_right_with_every_keyword(ufunc):
    for method, args, keywords in ufuncs.methods(ufunc):
        name = f"{full_name(ufunc)}.{method}"
        if BY_NAME[name].kind != NOT_APPLICABLE and name not in WRONG_IN_NUMPY:
            outcomes = calls.probe(getattr(ufunc, method), args, keywords, writes=method == "at")
            label = f"dtype={keywords['dtype']}" if "dtype" in keywords else ""
            right(name, label, outcomes, alone)


def test_numpy_itself_has_no_method_that_is_not_applicable():
    for ufunc in DIFFERENTIABLE_UFUNCS:
        for method in ("reduce", "accumulate"):
            if of_ufunc_method(ufunc, method).kind == NOT_APPLICABLE:
                with pytest.raises((TypeError, ValueError, RuntimeError)):
                    getattr(ufunc, method)(ufuncs.operands(ufunc)[0])


@pytest.mark.parametrize("name", methods.METHODS)
def test_methods_of_arrays_are_right_with_every_keyword(name):
    method = methods.method(name)
    for label, args, keywords in calls.calls(method, *methods.METHODS[name]):
        outcomes = calls.probe(method, args, keywords, writes=name in methods.WRITERS)
        # A plain array does not ask what its methods are given.
        right(f"numpy.ndarray.{name}", label, outcomes, lambda who: alone(who) or who[0] != "self")


@pytest.mark.parametrize("name", methods.ATTRIBUTES)
def test_attributes_of_arrays_are_right(name):
    right(f"numpy.ndarray.{name}", "", calls.probe(methods.attribute(name), (methods.ATTRIBUTES[name],), {}))


@pytest.mark.parametrize("name", reasons.OPERATORS)
def test_operators_are_right(name):
    outcomes = calls.probe(methods.operated(name), methods.operands(name), {})
    right(f"numpy.ndarray.{name}", "", outcomes, lambda who: name.startswith("__i") and who[0] != "self")


def test_every_method_and_attribute_that_can_be_asked_for_is():
    probed = {*methods.METHODS, *methods.ATTRIBUTES, *reasons.OPERATORS, "__array_namespace__"}
    wanted = [
        name for name in overridable_attributes() if BY_NAME[f"numpy.ndarray.{name}"].kind in (RULE, COMPOSED, CONSTANT)
    ]
    assert set(wanted) - probed == set()


def test_everything_that_is_not_differentiable_is_tried():
    assert set(names(NOT_DIFFERENTIABLE)) - {f"numpy.nextafter.{method}" for method in ("reduce", "accumulate", "reduceat",
           "outer", "at")} == set(methods.LOSING)  # fmt: skip


@pytest.mark.parametrize("name", methods.LOSING)
def test_what_would_lose_a_gradient_raises(name):
    # Python asks for an AttributeError from what hands out memory, so that it looks for another way.
    with pytest.raises((rt.NotDifferentiableError, rt.MissingRuleError, AttributeError)):
        rt.vjp(methods.LOSING[name], methods.P)


ON_TEXT = [
    f for f in [*overridable_functions(), *overridable_ufuncs()]
    if BY_NAME[full_name(f)].kind == NOT_APPLICABLE and any(w in BY_NAME[full_name(f)].reason for w in ("text", "dates"))
    and "people" not in BY_NAME[full_name(f)].reason and "buffers" not in BY_NAME[full_name(f)].reason
]  # fmt: skip


@pytest.mark.parametrize("function", ON_TEXT, ids=full_name)
def test_text_and_dates_are_not_taken_for_numbers(function):
    count = function.nin if isinstance(function, np.ufunc) else _required(function)
    with pytest.raises((TypeError, ValueError, NotImplementedError)):
        rt.vjp(lambda x: function(*[x] * count), methods.P)


def _required(function):
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters)


def test_the_namespace_of_a_traced_array_is_numpy():
    found = []
    rt.vjp(lambda x: found.append(x.__array_namespace__(api_version="2024.12")) or x, methods.P)
    assert found == [np]


@pytest.mark.parametrize("text", [np.array2string, np.array_repr, np.array_str, str, repr, "{}".format])
def test_printing_loses_no_gradient(text):
    printed = []

    def program(x):
        printed.append(text(x))
        return x * x

    _, pullback = rt.vjp(program, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [2.0, 4.0])
    assert isinstance(printed[0], str)
