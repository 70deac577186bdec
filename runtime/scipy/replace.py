"""Functions that take the place of SciPy's where an argument is traced: SciPy's Python functions do not dispatch."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ..array import Array, read
from ..errors import BatchedValueError, MissingRuleError
from ..op import HOOKS

PATCHES: dict[str, dict[str, Any]] = {}


def is_traced(tree: Any) -> bool:
    """Tell whether an argument, or an item of a list, tuple or dict of them, is a traced array."""
    if type(tree) is Array:
        return True
    if isinstance(tree, (list, tuple)):
        return any(is_traced(item) for item in tree)
    return isinstance(tree, dict) and any(is_traced(item) for item in tree.values())


def replaces(module: str, *names: str) -> Callable:
    """Register a handler as what the named functions of `module` do when an argument is traced.

    Returns the function of SciPy's signature that is offered: it calls SciPy's own where nothing is traced. A keyword
    that SciPy has and the handler has not raises `MissingRuleError`.
    """
    home = importlib.import_module(module)

    def register(handler: Callable) -> Callable:
        entries = [_entry(module, name, getattr(home, name), handler) for name in names]
        for name, entry in zip(names, entries, strict=True):
            PATCHES.setdefault(module, {})[name] = entry
        return entries[0]

    return register


def _entry(module: str, name: str, original: Callable, handler: Callable) -> Callable:
    @functools.wraps(original)
    def entry(*args: Any, **keywords: Any) -> Any:
        if not is_traced(args) and not is_traced(keywords):
            return original(*args, **keywords)
        try:
            return handler(*args, **keywords)
        except BatchedValueError as error:
            return HOOKS["one_at_a_time"](entry, args, keywords, error)
        except TypeError:
            _require_form(f"{module}.{name}", original, handler, args, keywords)
            raise

    return entry


def _require_form(name: str, original: Callable, handler: Callable, args: tuple, keywords: dict) -> None:
    """Raise what SciPy raises for arguments that it does not take, `MissingRuleError` for those that only it takes."""
    try:
        inspect.signature(handler).bind(*args, **keywords)
    except TypeError as error:
        inspect.signature(original).bind(*args, **keywords)
        raise MissingRuleError(
            f"{name} of a traced array does not take these arguments here ({error}). Leave them out, or compose the same "
            "of functions that have a rule"
        ) from None


def refuse(name: str, **forms: Any) -> None:
    """Raise `MissingRuleError` for keywords that were given a value that has no rule here."""
    given = [f"{keyword}={value!r}" for keyword, value in forms.items() if value]
    if given:
        raise MissingRuleError(
            f"{name} of a traced array has no rule for {', '.join(given)}: leave it out, or call it on "
            "retape.stop_gradient(x) if no gradient is wanted"
        )


def constant(value: Any, name: str) -> Any:
    """Return the plain value of an argument that has no derivative. Raises `NotDifferentiableError` where one is at stake."""
    return read(value, name) if type(value) is Array else value


def owner_of(module: str, name: str) -> tuple[Any, str]:
    """Return the object and its attribute that an entry of `PATCHES` replaces; a name may lead through a class."""
    owner: Any = importlib.import_module(module)
    *path, attribute = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, attribute
