"""New derivative rules: for a function of your own, for NumPy's, for one of somebody else's module."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import phantom
from .array import Array, apply
from .errors import RuleError
from .op import FUNCTIONS, OPS, RECORDERS, UFUNCS, Op, compile_rule, define
from .operators import install
from .python_numbers import is_python_number


class Primitive:
    """A function that is one op: opaque to the tape, with rules given by `defvjp` and `defjvp`. Made by `primitive`."""

    def __init__(self, f: Callable, infer: Callable | None) -> None:
        functools.update_wrapper(self, f, updated=())
        self.function = f
        self.signature = inspect.signature(f)
        kinds = inspect.Parameter
        known = list(self.signature.parameters.values())
        positional = [p for p in known if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        self.inputs = [p.name for p in positional if p.default is kinds.empty]
        self.starred = next((p.name for p in known if p.kind is kinds.VAR_POSITIONAL), None)
        names = " ".join([*self.inputs, *([f"{self.starred}*"] if self.starred else [])])
        self.parameters = [p.name for p in known if p.name not in self.inputs and p.kind is not kinds.VAR_POSITIONAL]
        run = functools.partial(_run, f, ())
        name = getattr(f, "__qualname__", "primitive")
        if name in OPS:
            name = next(candidate for k in itertools.count(2) if (candidate := f"{name} ({k})") not in OPS)
        self.op = define(
            name,
            run,
            inputs=names,
            parameters=self.parameters,
            infer=infer or _trial(run),
        )
        self._infer = infer
        self._on_numbers: dict[tuple[int, ...], Op] = {}

    def defvjp(self, *rules: Callable | None) -> Primitive:
        """Give the reverse rules, one per input; see `defvjp`."""
        self.op = _with_rules(self.op, rules, self.parameters)
        self._on_numbers.clear()
        return self

    def defjvp(self, *rules: Callable | None) -> Primitive:
        """Give the forward rules, one per input; see `defjvp`."""
        self.op = _with_forward_rules(self.op, rules, self.parameters)
        self._on_numbers.clear()
        return self

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return the function's value; a call with traced arguments is recorded."""
        if not any(type(a) is Array for a in (*args, *keywords.values())):
            return self.function(*args, **keywords)
        bound = self.signature.bind(*args, **keywords)
        operands = [bound.arguments[name] for name in self.inputs]
        operands += bound.arguments.get(self.starred, ()) if self.starred else ()
        parameters = {name: value for name, value in bound.arguments.items() if name in self.parameters}
        active = [name for name, value in parameters.items() if type(value) is Array]
        if active:
            raise RuleError(f"{self.op.name} was given a traced array for {active[0]}, a parameter, not an input")
        if not any(self.op.rules) and self.op.jvp is None and not self.op.zero_gradient:
            raise RuleError(f"{self.op.name} has no rule yet: call {self.op.name}.defvjp(rule, ...), one per input")
        bound.apply_defaults()
        parameters = {name: bound.arguments[name] for name in self.parameters}
        numbers = tuple([k for k, a in enumerate(operands) if type(a) is Array and is_python_number(a)])
        return apply(self._op_on(numbers) if numbers else self.op, operands, parameters or None)

    def _op_on(self, numbers: tuple[int, ...]) -> Op:
        """Return the op that gives the function Python numbers for the inputs at those places, as a call outside would."""
        if numbers not in self._on_numbers:
            run = functools.partial(_run, self.function, numbers)
            infer = functools.partial(_called, self._infer, numbers) if self._infer else _trial(run)
            rules = [
                dataclasses.replace(rule, fits_any_digits=True) if rule is not None and k in numbers else rule
                for k, rule in enumerate(self.op.rules)
            ]
            self._on_numbers[numbers] = dataclasses.replace(
                self.op, run=run, rules=tuple(rules), infer=infer, _residuals={}, _steps={}
            )
        return self._on_numbers[numbers]


def primitive(f: Callable | None = None, *, infer: Callable | None = None) -> Any:
    """Return `f` as one op that the tape does not look into: what it computes with may be anything, C code included.

    Parameters without a default are array inputs, the others static. `f` returns one array; under a memory budget its shape
    is found by a trial on ones, unless ``infer(*phantoms, **parameters)`` returns an array of the right shape and dtype. A
    Python number comes to `f` as one, so that it takes on the dtype of the arrays that it meets there.

    >>> import numpy as np, retape as rt
    >>> @rt.primitive
    ... def cubed(x):
    ...     return x**3
    >>> _ = cubed.defvjp(lambda g, x: g * 3 * x**2)
    >>> float(rt.grad(cubed)(2.0))
    12.0
    """
    if f is None:
        return functools.partial(primitive, infer=infer)
    return Primitive(f, infer)


def defvjp(function: Any, *rules: Callable | None) -> Any:
    """Give a function reverse rules, ``rule(g, *reads)`` one per input, and return it (or what now stands in its place).

    What a rule reads is said by its parameters' names: an input's name, ``y`` for the output, ``<input>_shape``,
    ``<input>_dtype``, or a parameter with a default. A ufunc's inputs are called ``x``, or ``a`` and ``b``. None says that no
    derivative goes through. `function` may be a NumPy ufunc, a NumPy function, a `primitive`, or any function of somebody
    else's module: that one is replaced in its module. Raises `RuleError` where a function cannot be reached.

    A straight-through gradient for `np.floor`::

        rt.defvjp(np.floor, lambda g: g)
    """
    found = _reach(function)
    if isinstance(found, Primitive):
        return found.defvjp(*rules)
    _put(found, _with_rules(_op_of(found), rules, ()))
    return found


def defjvp(function: Any, *rules: Callable | None) -> Any:
    """Give a function forward rules, ``rule(t, *reads)`` one per input: the tangent of the output from that of the input.

    They follow from the reverse rules where none are given. See `defvjp` for what may be read and what `function` may be.
    """
    found = _reach(function)
    if isinstance(found, Primitive):
        return found.defjvp(*rules)
    _put(found, _with_forward_rules(_op_of(found), rules, ()))
    return found


def _reach(function: Any) -> Any:
    """Return a ufunc, or the primitive that stands for a function; the first time, put one in the function's place."""
    if isinstance(function, (Primitive, np.ufunc)):
        return function
    if not callable(function):
        raise RuleError(f"a rule is given for a function, not for {type(function).__name__}")
    if hasattr(function, "_implementation"):  # NumPy's own, which dispatches on traced arrays
        handler = FUNCTIONS.get(function)
        if not isinstance(handler, Primitive):
            handler = FUNCTIONS[function] = Primitive(function, None)
        return handler
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__name__", "")
    if module is None or getattr(module, name, None) is not function:
        raise RuleError(
            f"{name or function} is not to be found as an attribute of its module, so it cannot be given a rule there: make "
            "it one with f = retape.primitive(f), and use that"
        )
    made = Primitive(function, None)
    setattr(module, name, made)
    return made


def _op_of(ufunc: np.ufunc) -> Op:
    """Return the op of a ufunc, a new one where it has none."""
    if ufunc in UFUNCS:
        return UFUNCS[ufunc]
    if ufunc.nout != 1 or ufunc.signature is not None:
        raise RuleError(f"numpy.{ufunc.__name__} has several outputs or core dimensions: wrap it in a retape.primitive")
    names = ("x",) if ufunc.nin == 1 else tuple("abcdefg"[: ufunc.nin])
    return Op(
        ufunc.__name__, ufunc, names, (None,) * ufunc.nin, lambda *phantoms: phantom.of_ufunc(ufunc, phantoms), None, None,
        is_view=False, is_variadic=False, overwrites=0, run_into=lambda out, *args: ufunc(*args, out=out),
        reads_target=False, zero_gradient=False,
    )  # fmt: skip


def _put(ufunc: np.ufunc, op: Op) -> None:
    UFUNCS[ufunc] = OPS[op.name] = op
    FUNCTIONS.pop(ufunc, None)
    RECORDERS.pop(ufunc, None)
    install()


def _with_rules(op: Op, rules: tuple, parameters: Any) -> Op:
    compiled = _compiled(op, rules, parameters)
    return dataclasses.replace(op, rules=compiled, jvp=None, zero_gradient=not any(compiled), _residuals={}, _steps={})


def _with_forward_rules(op: Op, rules: tuple, parameters: Any) -> Op:
    compiled = _compiled(op, rules, parameters)
    back = op.rules if any(op.rules) else tuple(None if rule is None else _no_reverse(op.name) for rule in compiled)
    return dataclasses.replace(op, rules=back, jvp=compiled, zero_gradient=not any(compiled), _residuals={}, _steps={})


def _compiled(op: Op, rules: tuple, parameters: Any) -> tuple:
    wanted = len(op.inputs)
    if len(rules) != wanted:
        raise RuleError(
            f"{op.name} has the inputs {', '.join(op.inputs)}: {wanted} rules are needed, {len(rules)} were given"
        )
    try:
        return tuple(
            None
            if rule is None
            else dataclasses.replace(
                compile_rule(op.name, rule, op.inputs, parameters, is_variadic=op.is_variadic), is_strict=True
            )
            for rule in rules
        )
    except ValueError as error:
        raise RuleError(str(error)) from None


def _no_reverse(name: str) -> Any:
    def rule(g: Any) -> Any:
        raise RuleError(f"{name} has a forward rule only: give it a reverse rule with retape.defvjp")

    return compile_rule(name, rule, (), ())


def is_opaque(op: Op) -> bool:
    """Tell whether an op runs a function that somebody else wrote, of which nothing is known but its rules."""
    return isinstance(op.run, functools.partial) and op.run.func is _run


def _run(f: Callable, numbers: tuple[int, ...], *args: Any, **parameters: Any) -> Any:
    """Return ``f(*args)``, with the arguments at `numbers` as Python numbers, as a C-contiguous array of its own.

    Raises `RuleError` for what is no array.
    """
    y = _called(f, numbers, *args, **parameters)
    if isinstance(y, np.generic):
        return y
    if isinstance(y, (int, float, complex)):
        return np.asarray(y)[()]
    if not isinstance(y, np.ndarray):
        raise RuleError(f"{getattr(f, '__name__', f)} returned {type(y).__name__}: a primitive returns one array or number")
    shared = any(isinstance(a, np.ndarray) and np.may_share_memory(a, y) for a in args)
    return np.array(y, order="C") if shared or not y.flags.c_contiguous else y


def _called(f: Callable, numbers: tuple[int, ...], *args: Any, **parameters: Any) -> Any:
    return f(*[a.item() if k in numbers and a.ndim == 0 else a for k, a in enumerate(args)], **parameters)


def _trial(run: Callable) -> Callable:
    """Return a function that finds the shape and dtype of an output by running the function on ones."""
    seen: dict[Any, np.ndarray] = {}

    def infer(*phantoms: Any, **parameters: Any) -> np.ndarray:
        key = tuple((p.shape, p.dtype) if isinstance(p, np.ndarray) else p for p in phantoms), tuple(parameters.items())
        if key not in seen:
            with np.errstate(all="ignore"):
                y = run(*(np.ones(p.shape, p.dtype) if isinstance(p, np.ndarray) else p for p in phantoms), **parameters)
            seen[key] = phantom.contiguous(y.shape, y.dtype)
        return seen[key]

    return infer
