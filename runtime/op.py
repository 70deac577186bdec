"""The op table: every op beside its rule, its residuals, its shapes, its flops and its workspace.

A rule is a function ``rule(g, *reads)`` that maps the output's cotangent to one input's. What it reads is
declared by the names of its parameters:

=====================  ==========================================================================
name                   what the rule receives
=====================  ==========================================================================
an input's name        that input's value (a residual: the tape must be able to produce it)
``y``                  the output's value (a residual)
``<input>_shape``      the shape of that input, ``y_shape`` of the output (no residual)
``<input>_dtype``      its dtype (no residual)
a starred name         the values of all inputs from there on, as a tuple (residuals)
``position``           which input of a variadic op the cotangent is wanted for
``shapes``             the shapes of all inputs of a variadic op
a parameter's name     that static parameter of the call
=====================  ==========================================================================

Rules are written with ``np.*`` on whatever they get, so they can be recorded and differentiated again. They use
only functions that are ops themselves: the numbers are then the same whether a rule is run or recorded first.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import phantom

OUTPUT = -1


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """A vector-Jacobian product for one input, and what it reads (see the module's table).

    `reads` holds one entry per parameter after ``g``: an integer for a value (the index of an input, or
    `OUTPUT`), or a ``(kind, key)`` pair for what costs no memory. A rule that `adds` has the form
    ``rule(total, g, *reads)`` and returns the input's whole cotangent so far with its own share added (a scatter);
    `total` is its to overwrite. A rule that `takes` its cotangent may overwrite that. What a strict rule
    returns must have the input's shape, or one that the input was broadcast to, and no fewer digits, unless the rule
    `fits_any_digits`: that of a Python number, which has no dtype of its own.
    """

    function: Callable
    reads: tuple
    residuals: tuple[int, ...]
    reads_rest: bool = False
    reads_values_only: bool = False
    adds: bool = False
    takes: bool = False
    is_strict: bool = False
    fits_any_digits: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """One primitive of the tape. Made by `define`; everything else is composed of these."""

    name: str
    run: Callable
    inputs: tuple[str, ...]
    rules: tuple[Rule | None, ...]
    infer: Callable
    flops: Callable | None
    workspace: Callable | None
    is_view: bool
    is_variadic: bool
    overwrites: int | None
    run_into: Callable | None
    reads_target: bool
    zero_gradient: bool
    jvp: str | tuple[Rule | None, ...] | None = None
    pull: Callable | None = None
    _residuals: dict = field(default_factory=dict, repr=False)
    _steps: dict = field(default_factory=dict, repr=False)

    def rule(self, position: int) -> Rule | None:
        """Return the rule for the input at `position`; the starred inputs of a variadic op share the last one."""
        return self.rules[min(position, len(self.rules) - 1)]

    def is_differentiable(self, mask: Sequence[bool]) -> bool:
        """Tell whether the output depends differentiably on one of the inputs that are active in `mask`."""
        return bool(self.steps(tuple(mask)))

    def steps(self, mask: tuple[bool, ...]) -> tuple[tuple[int, Rule], ...]:
        """Return the positions of the inputs that a cotangent goes to when those in `mask` are active, with their rules.

        In the order in which the rules run: one that takes the cotangent for itself comes last.
        """
        found = self._steps.get(mask)
        if found is None:
            rules = [(k, self.rule(k)) for k, is_active in enumerate(mask) if is_active and not self.zero_gradient]
            kept = [(k, rule) for k, rule in rules if rule is not None]
            found = self._steps[mask] = tuple(sorted(kept, key=lambda pair: pair[1].takes))
        return found

    def residuals(self, mask: tuple[bool, ...]) -> tuple[int, ...]:
        """Return which values (input indices, or `OUTPUT`) the rules read when the inputs in `mask` are active."""
        found = self._residuals.get(mask)
        if found is None:
            wanted: set[int] = set()
            for position, is_active in enumerate(mask):
                rule = self.rule(position) if is_active else None
                if rule is not None:
                    wanted.update(rule.residuals)
                    if rule.reads_rest:
                        wanted.update(range(len(self.inputs) - 1, len(mask)))
            found = self._residuals[mask] = tuple(sorted(wanted))
        return found


UFUNCS: dict[np.ufunc, Op] = {}
RECORDERS: dict[np.ufunc, Callable] = {}  # what a ufunc without keywords goes through; made when it is first called
FUNCTIONS: dict[Callable, Callable] = {}
HOOKS: dict[str, Callable] = {}  # what the core calls of the families of ops, which import it
OPS: dict[str, Op] = {}


def define(
    name: str,
    run: Callable,
    *,
    inputs: str,
    rules: Sequence[Callable | None] | Callable = (),
    infer: Callable,
    parameters: Sequence[str] = (),
    flops: Callable | None = None,
    workspace: Callable | None = None,
    is_view: bool = False,
    overwrites: int | None = None,
    run_into: Callable | None = None,
    reads_target: bool = False,
    zero_gradient: bool = False,
    adds: bool = False,
    takes: bool = False,
    jvp: str | Callable | Sequence[Callable | None] | None = None,
    pull: Callable | None = None,
) -> Op:
    """Add an op to the table and return it.

    `inputs` names the array inputs, separated by blanks; a last name ending in ``*`` stands for any number of them.
    `infer(*phantoms, **parameters)` gives the output's phantom (a view op: the phantom, and whether it really is a view).
    `flops(output, *phantoms, **parameters)` and `workspace(...)` give counts; None means one flop an element, no workspace.
    `run_into(out, *args, **parameters)` writes the output into a given buffer, which may be that of the input number
    `overwrites`; with `reads_target` it must be that one, for it is read (an update in place). The first input's rule
    `adds` into a given total, or `takes` its cotangent (see `Rule`).

    `jvp` tells how tangents go through: "linear" (the op itself on all tangents, zeros where there is none),
    "multilinear" (the sum of the op with one input at a time replaced by its tangent), or one rule ``(t, *reads)`` per
    input. None transposes the reverse rules, which is always right and costs a recording of the rule.

    `pull(tape, call, g, sums, handle)` takes the place of the rules where a tape's reverse sweep is recorded.
    """
    is_variadic = inputs.endswith("*")
    names = tuple(inputs.rstrip("*").split())
    if callable(rules):
        rules = (rules,)
    if not rules:
        rules = (None,) * max(len(names), 1)
    compiled = tuple(
        None
        if rule is None
        else compile_rule(
            name,
            rule,
            names,
            parameters,
            is_variadic=is_variadic,
            adds=adds and position == 0,
            takes=takes and position == 0,
        )
        for position, rule in enumerate(rules)
    )
    forward: Any = jvp
    if jvp is not None and not isinstance(jvp, str):
        functions = (jvp,) if callable(jvp) else jvp
        forward = tuple(
            None if function is None else compile_rule(name, function, names, parameters, is_variadic=is_variadic)
            for function in functions
        )
    elif jvp not in (None, "linear", "multilinear"):
        raise ValueError(f"jvp={jvp!r} of {name!r} is none of: 'linear', 'multilinear', a rule per input, None")
    op = Op(
        name, run, names, compiled, infer, flops, workspace, is_view, is_variadic, overwrites,
        run_into, reads_target, zero_gradient, forward, pull,
    )  # fmt: skip
    OPS[name] = op
    return op


def compile_rule(
    op_name: str,
    function: Callable,
    inputs: tuple[str, ...],
    parameters: Sequence[str],
    *,
    is_variadic: bool = False,
    adds: bool = False,
    takes: bool = False,
) -> Rule:
    """Return the `Rule` of a plain function, reading its residuals off its parameter names.

    Raises `ValueError` for a name that is neither an input, the output, a shape, a dtype nor a parameter.
    """
    reads: list[Any] = []
    for parameter in list(inspect.signature(function).parameters)[2 if adds else 1 :]:
        stem, _, suffix = parameter.rpartition("_")
        if parameter in parameters:
            reads.append(("parameter", parameter))
        elif parameter == "y":
            reads.append(OUTPUT)
        elif is_variadic and parameter == inputs[-1]:
            reads.append(("rest", len(inputs) - 1))
        elif parameter in inputs:
            reads.append(inputs.index(parameter))
        elif suffix in ("shape", "dtype") and (stem in inputs or stem == "y"):
            reads.append((suffix, OUTPUT if stem == "y" else inputs.index(stem)))
        elif parameter in ("position", "shapes"):
            reads.append((parameter, None))
        else:
            known = ", ".join([*inputs, "y", *parameters])
            raise ValueError(f"the rule of {op_name!r} reads {parameter!r}, which is not one of: {known}")
    residuals = tuple(read for read in reads if isinstance(read, int))
    return Rule(
        function,
        tuple(reads),
        residuals,
        reads_rest=any(isinstance(read, tuple) and read[0] == "rest" for read in reads),
        reads_values_only=len(residuals) == len(reads),
        adds=adds,
        takes=takes,
    )


def elementwise(
    ufunc: np.ufunc,
    inputs: str,
    *partials: Any,
    cost: float = 1.0,
    name: str | None = None,
    run: Callable | None = None,
) -> Op:
    """Add a ufunc with one partial derivative per input: a number, a function of what it reads, or None (piecewise constant).

    `cost` is its flops per element. The product with the cotangent is formed here, so a partial is all there is to write.
    """
    rules = [None if partial is None else _times_cotangent(partial) for partial in partials]
    return by_rules(ufunc, inputs, *rules, cost=cost, name=name, run=run)


def by_rules(
    ufunc: np.ufunc,
    inputs: str,
    *rules: Callable | None,
    jvp: str | Sequence[Callable | None] | None = None,
    cost: float = 1.0,
    name: str | None = None,
    run: Callable | None = None,
) -> Op:
    """Add a ufunc with one rule ``(g, *reads)`` per input, or None; tangents go through the same, unless `jvp` says how.

    Where no input has a rule, the ufunc is piecewise constant. `cost` is its flops per element; `run` computes it where the
    ufunc itself does not do.
    """
    op = UFUNCS[ufunc] = define(
        name or ufunc.__name__,
        run or ufunc,
        inputs=inputs,
        rules=rules,
        infer=lambda *phantoms: phantom.of_ufunc(ufunc, phantoms),
        flops=lambda out, *_: cost * out.size,
        overwrites=0,
        run_into=into(ufunc),
        zero_gradient=not any(rules),
        jvp=rules if jvp is None else jvp,
    )
    RECORDERS.pop(ufunc, None)
    return op


def into(ufunc: np.ufunc) -> Callable:
    """Return ``run_into(out, *args)`` for a ufunc, with the bits that it gives into a fresh array.

    One product of complex numbers has other last bits where it is written over one of its factors, and only one has.
    """
    if ufunc not in (np.multiply, np.square):
        return lambda out, *args: ufunc(*args, out=out)

    def run_into(out: np.ndarray, *args: Any) -> np.ndarray:
        if out.size == 1 and out.dtype.kind == "c":
            out[...] = ufunc(*args)
            return out
        return ufunc(*args, out=out)

    return run_into


def _times_cotangent(partial: Any) -> Callable:
    if not callable(partial):
        scaled: Any = (lambda g: g) if partial == 1 else (lambda g: -g) if partial == -1 else lambda g: g * partial
        scaled.partial = partial
        return scaled

    def rule(g: Any, *values: Any) -> Any:
        return g * partial(*values)

    rule.partial = partial  # pyright: ignore[reportFunctionMemberAccess]
    return reading_as(rule, partial)


def reading_as(rule: Callable, partial: Callable) -> Callable:
    """Return `rule`, ``(g, *values)``, declared to read what the parameters of `partial` name."""
    parameters = [inspect.Parameter("g", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += inspect.signature(partial).parameters.values()
    rule.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return rule


def implements(*functions: Callable) -> Callable:
    """Register a function as what the given NumPy functions do when they meet a traced array.

    A handler with a parameter ``out`` need not look at it: the result is written into the array given there.
    """

    def register(handler: Callable) -> Callable:
        takes_out = "out" in inspect.signature(handler).parameters
        for function in functions:
            FUNCTIONS[function] = _with_out(handler, function) if takes_out else handler
            RECORDERS.pop(function, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return handler

    return register


def _name(function: Any) -> str:
    """Return what a function of NumPy, or a ``(ufunc, method)``, is called in a program."""
    if isinstance(function, tuple):
        return f"numpy.{function[0].__name__}.{function[1]}"
    return f"{getattr(function, '__module__', None) or 'numpy'}.{function.__name__}"


def _with_out(handler: Callable, function: Any) -> Callable:
    signature = inspect.signature(handler)
    is_positional = signature.parameters["out"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    place = list(signature.parameters).index("out") if is_positional else sys.maxsize

    @functools.wraps(handler)
    def entry(*args: Any, **keywords: Any) -> Any:
        if len(args) <= place and keywords.get("out") is None:
            return handler(*args, **keywords)
        given = keywords.get("out")
        is_spare = HOOKS["is_spare"](given, sys.getrefcount(given), function)
        bound = signature.bind(*args, **keywords)
        out = bound.arguments["out"]
        bound.arguments["out"] = None
        result = handler(*bound.args, **bound.kwargs)
        return result if out is None else HOOKS["write_out"](out, result, _name(function), is_spare=is_spare)

    return entry
