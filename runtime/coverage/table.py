"""The rows of what is covered, made from the registries of rules: every function and method of NumPy, its kind and why."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .. import ops
from ..op import FUNCTIONS, OPS, UFUNCS, Op
from . import reasons
from .reasons import COMPOSED, CONSTANT, NOT_APPLICABLE, NOT_DIFFERENTIABLE, RULE, UNKNOWN

UFUNC_METHODS = ("reduce", "accumulate", "reduceat", "outer", "at")


@dataclass(frozen=True)
class Entry:
    """One row: a function, a method or an attribute of NumPy, and what becomes of it when it meets a traced array.

    `ops` are the ops of its own, `keywords` those that it takes here, `refused` what raises (by form: why), `reason` why it
    has no derivative, and `forms` what the tests say is special about the calls that they make of it.
    """

    name: str
    kind: str
    reason: str = ""
    ops: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    forms: tuple[str, ...] = ()


def overridable_ufuncs() -> list[np.ufunc]:
    """Return the ufuncs that NumPy hands over to a traced array, by name."""
    from numpy.testing.overrides import get_overridable_numpy_ufuncs

    return sorted(get_overridable_numpy_ufuncs(), key=lambda ufunc: ufunc.__name__)


def overridable_functions() -> list[Callable]:
    """Return the functions that NumPy hands over to a traced array, by full name; those of all of NumPy's modules."""
    from numpy.testing.overrides import get_overridable_numpy_array_functions

    for module in ("char", "strings", "polynomial", "lib.recfunctions"):
        importlib.import_module(f"numpy.{module}")
    return sorted(get_overridable_numpy_array_functions(), key=full_name)


def overridable_attributes() -> list[str]:
    """Return the names of ndarray's own methods and attributes: public ones, operators and protocols."""
    return sorted(name for name in vars(np.ndarray) if name not in ("__doc__", "__new__", "__getattribute__"))


def full_name(function: Any) -> str:
    """Return the name that a function is found by, such as ``numpy.linalg.solve``."""
    if not isinstance(function, np.ufunc):
        return f"{function.__module__}.{function.__name__}"
    name = function.__name__
    for module in ("numpy", "numpy.strings"):
        if getattr(importlib.import_module(module), name, None) is function:
            return f"{module}.{name}"
    return f"numpy._core.umath.{name}"


def named(name: str) -> Any:
    """Return what a full name stands for. Raises `AttributeError` for a name that there is not."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[:number]))
            except ModuleNotFoundError:
                pass
        found = getattr(found, part)
    return found


def own_ops(handler: Callable) -> tuple[str, ...]:
    """Return the ops with a rule that a handler reaches by itself or through helpers that are no handlers themselves."""
    others = {inspect.unwrap(other) for other in FUNCTIONS.values()}
    found: set[str] = set()
    seen: set[Any] = set()

    def visit(function: Any) -> None:
        if function in seen:
            return
        seen.add(function)
        for value in _referred(function):
            if isinstance(value, Op):
                found.add(value.name)
            elif isinstance(value, FunctionType) and value.__module__.startswith(ops.__name__) and value not in others:
                visit(value)

    visit(inspect.unwrap(handler))
    return tuple(sorted(name for name in found - reasons.PLUMBING if any(OPS[name].rules) and not OPS[name].zero_gradient))


def _referred(function: Any) -> Iterator[Any]:
    """Yield what the code of a function refers to: globals of its module, and what it closes over."""
    if not isinstance(function, FunctionType):
        return
    codes, names = [function.__code__], set()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    yield from (function.__globals__.get(name) for name in names)
    yield from (cell.cell_contents for cell in function.__closure__ or ())


def of_ufunc(ufunc: np.ufunc) -> Entry:
    """Return the row of a ufunc that is called."""
    name = full_name(ufunc)
    refused = reasons.REFUSED.get(name, {})
    if ufunc in FUNCTIONS:
        made_of = own_ops(FUNCTIONS[ufunc])
        return Entry(name, RULE if made_of or ufunc in UFUNCS else COMPOSED, ops=made_of, refused=refused)
    if ufunc in UFUNCS:
        op = UFUNCS[ufunc]
        return Entry(name, CONSTANT) if op.zero_gradient else Entry(name, RULE, ops=(op.name,), refused=refused)
    kind, reason = reasons.UFUNCS.get(ufunc.__name__, (UNKNOWN, ""))
    return Entry(name, kind, reason)


def of_function(function: Callable) -> Entry:
    """Return the row of an array function."""
    name = full_name(function)
    handler = FUNCTIONS.get(function)
    refused = reasons.REFUSED.get(name, {})
    if name in reasons.FUNCTIONS:
        kind, reason = reasons.FUNCTIONS[name]
        return Entry(name, kind, reason, keywords=_keywords(function, handler), refused=refused)
    for start, (kind, reason) in reasons.MODULES.items():
        if name.startswith(start):
            return Entry(name, kind, reason)
    if handler is None:
        return Entry(name, UNKNOWN)
    made_of = own_ops(handler)
    return Entry(name, RULE if made_of else COMPOSED, "", made_of, _keywords(function, handler), refused)


def _optional(function: Callable) -> Iterator[str]:
    """Yield the names of the arguments that may be left out; none for what tells no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
            yield parameter.name


def _keywords(function: Callable, handler: Callable | None) -> tuple[str, ...]:
    """Return the optional arguments of NumPy's function that its handler takes; all where NumPy's own source runs."""
    wanted = tuple(_optional(function))
    if handler is None:
        return wanted
    taken = inspect.signature(handler).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return wanted
    return tuple(name for name in wanted if name in taken)


def of_attribute(name: str) -> Entry:
    """Return the row of a method or attribute of ndarray."""
    full = f"numpy.ndarray.{name}"
    if name in reasons.ATTRIBUTES:
        kind, reason = reasons.ATTRIBUTES[name]
        return Entry(full, kind, reason, refused=reasons.REFUSED.get(full, {}))
    if name in reasons.OPERATORS:
        row = of_ufunc(reasons.OPERATORS[name])
        return Entry(full, row.kind, row.reason, row.ops)
    function = getattr(np, name, None)
    if name.startswith("_") or function is None:
        return Entry(full, UNKNOWN)
    row = of_ufunc(function) if isinstance(function, np.ufunc) else of_function(function)
    keywords = tuple(_optional(getattr(np.ndarray, name))) if callable(getattr(np.ndarray, name)) else ()
    return Entry(full, row.kind, row.reason, row.ops, keywords, row.refused)


def of_ufunc_method(ufunc: np.ufunc, method: str) -> Entry:
    """Return the row of a method of a ufunc."""
    name = f"{full_name(ufunc)}.{method}"
    call = of_ufunc(ufunc)
    if call.kind in (NOT_APPLICABLE, NOT_DIFFERENTIABLE, UNKNOWN):
        return Entry(name, call.kind, call.reason)
    if ufunc.signature is not None:
        return Entry(name, NOT_APPLICABLE, "NumPy has the methods of ufuncs of single elements only")
    if ufunc.nout != 1 or (ufunc.nin not in (1, 2) if method == "at" else ufunc.nin != 2):
        return Entry(name, NOT_APPLICABLE, "NumPy has it for ufuncs of two arrays and one result only")
    if method in ("reduce", "accumulate", "reduceat") and not any(t[0] == t[1] == t[-1] for t in ufunc.types):
        return Entry(name, NOT_APPLICABLE, "NumPy cannot fold: the arguments are of different dtypes")
    if call.kind == CONSTANT:
        return Entry(name, CONSTANT)
    handler = FUNCTIONS.get((ufunc, method))  # pyright: ignore[reportArgumentType]
    made_of = () if handler is None else own_ops(handler)
    return Entry(name, COMPOSED if handler is None else RULE, ops=made_of, refused=call.refused)


def entries(forms: Iterable[Any] = ()) -> dict[str, list[Entry]]:
    """Return all rows by section; `forms` are the tests' (see `load_forms`)."""
    tested: dict[Any, list[str]] = {}
    for form in forms:
        if form.covers.startswith("numpy."):
            tested.setdefault(_key(form.covers), []).append(form.text)

    def with_forms(rows: Iterable[Entry]) -> list[Entry]:
        return [replace(row, forms=tuple(tested.get(_key(row.name), ()))) for row in rows]

    # Functions with ``like=`` are there twice under one name: as such, and as what is called when that is given.
    functions = {full_name(function): function for function in sorted(overridable_functions(), key=FUNCTIONS.__contains__)}
    return {
        "Ufuncs": with_forms(map(of_ufunc, overridable_ufuncs())),
        "Array functions": with_forms(of_function(functions[name]) for name in sorted(functions)),
        "Methods and attributes of ndarray": with_forms(map(of_attribute, overridable_attributes())),
        "Methods of ufuncs": with_forms(
            of_ufunc_method(ufunc, method) for ufunc in overridable_ufuncs() for method in UFUNC_METHODS
        ),
    }


def _key(name: str) -> Any:
    """Return the same for two names of one thing: ``numpy.true_divide`` is ``numpy.divide``."""
    owner, _, last = name.rpartition(".")
    try:
        found = named(owner)
        if isinstance(found, np.ufunc):
            return full_name(found), last
        return (owner, last) if inspect.isclass(found) else named(name)
    except AttributeError:  # NumPy has some functions on text under private names only
        return name


def load_forms(tests: Path) -> list[Any]:
    """Return the forms that the tests in a folder hold."""
    sys.path.insert(0, str(tests))
    try:
        package = importlib.import_module("forms")
        names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
        return [form for name in names for form in importlib.import_module(f"forms.{name}").FORMS]
    finally:
        sys.path.remove(str(tests))
