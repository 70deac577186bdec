"""The reverse sweep: cotangents of a tape's inputs from those of its outputs, one scan over its calls from the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import Array, apply
from .op import OPS, OUTPUT, Rule
from .tape import Tape


def pull(tape: Tape, cotangents: dict[int, Any], values: Any, zeros: Callable, *, last: int | None = None) -> list:
    """Return the cotangents of all slots (None where nothing arrived) of `tape`.

    `cotangents` seeds output slots; `values[slot]` gives residuals; `zeros(shape, dtype)` makes an accumulator for
    rules that scatter. Calls from number `last` on are left out. A rule receives a Python scalar as an array of the
    output's dtype, so that it computes the same whether it is run or recorded.
    """
    calls = tape.calls
    active = tape.active
    shapes = tape.shapes
    dtypes = tape.dtypes
    sums: list[Any] = [None] * len(tape.shapes)
    for slot, g in cotangents.items():
        sums[slot] = g if sums[slot] is None else sums[slot] + g
    inputs_of_tape = set(tape.inputs)
    owned: set[int] = set()
    regions = {end: (start, first) for start, end, first in tape.regions} if tape.regions else None
    remade: list[int] = []
    region_start = -1
    for number in range((len(calls) if last is None else last) - 1, -1, -1):
        if regions is not None:
            if number + 1 == region_start:
                for slot in remade:
                    tape.values[slot] = None
                remade = []
            if number + 1 in regions:
                region_start = regions[number + 1][0]
                remade = _replay(tape, region_start, number + 1)
        op, inputs, parameters, output = calls[number]
        g = sums[output]
        if g is None:
            continue
        if output not in inputs_of_tape:
            sums[output] = None
        rules = op.rules
        final = len(rules) - 1
        for position, slot in enumerate(inputs):
            if not active[slot]:
                continue
            rule = rules[position if position < final else final]
            if rule is None:
                continue
            reads = rule.reads
            if len(reads) == 1 and type(reads[0]) is int:
                source = output if reads[0] == OUTPUT else inputs[reads[0]]
                value = values[source]
                arguments = (value,) if dtypes[source] is not None else (_scalar(value, dtypes[output]),)
            elif reads:
                arguments = _fetch(tape, rule, number, position, values)
            else:
                arguments = ()
            total = sums[slot]
            if rule.adds:
                if total is None:
                    total = zeros(shapes[slot], dtypes[slot])
                elif slot not in owned and type(total) is np.ndarray:
                    total = total.copy()
                owned.add(slot)
                sums[slot] = rule.function(total, g, *arguments)
                continue
            share = rule.function(g, *arguments)
            if share.shape != shapes[slot]:
                share = unbroadcast(share, shapes[slot])
            if share.dtype is not dtypes[slot] and share.dtype != dtypes[slot]:
                share = in_dtype(share, dtypes[slot])
            if total is None:
                sums[slot] = share
            else:
                sums[slot] = total + share
                owned.add(slot)
    for slot in remade:
        tape.values[slot] = None
    return sums


def _fetch(tape: Tape, rule: Rule, number: int, position: int, values: Any) -> list:
    """Return what a rule reads, in the order of its parameters."""
    _, inputs, parameters, output = tape.calls[number]
    found = []
    for read in rule.reads:
        if type(read) is int:
            source = output if read == OUTPUT else inputs[read]
            value = values[source]
            found.append(value if tape.dtypes[source] is not None else _scalar(value, tape.dtypes[output]))
            continue
        kind, key = read
        if kind == "parameter":
            found.append(parameters[key])  # pyright: ignore[reportOptionalSubscript]
        elif kind == "shape":
            found.append(tape.shapes[output if key == OUTPUT else inputs[key]])
        elif kind == "dtype":
            found.append(tape.dtypes[output if key == OUTPUT else inputs[key]])
        elif kind == "rest":
            found.append(tuple(values[slot] for slot in inputs[key:]))
        elif kind == "position":
            found.append(position)
        else:
            found.append(tuple(tape.shapes[slot] for slot in inputs))
    return found


def _scalar(value: Any, dtype: Any) -> Any:
    return apply(OPS["astype"], (value,), {"dtype": dtype}) if type(value) is Array else np.asarray(value, dtype)


def _replay(tape: Tape, start: int, end: int) -> list[int]:
    """Run the calls of a checkpointed region again and hold their outputs; return the slots that were filled."""
    values = tape.values
    filled = []
    for op, inputs, parameters, output in tape.calls[start:end]:
        if values[output] is None:
            values[output] = apply(op, tuple([values[slot] for slot in inputs]), parameters)
            filled.append(output)
    return filled


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Return `g` summed over the axes along which an input of `shape` was broadcast."""
    lead = len(g.shape) - len(shape)
    if lead < 0 or any(n != m and m != 1 for n, m in zip(g.shape[lead:], shape, strict=True)):
        return np.broadcast_to(g, shape)
    axes = tuple(range(lead)) + tuple(k + lead for k, n in enumerate(shape) if n == 1 and g.shape[k + lead] != 1)
    if axes:
        g = np.sum(g, axis=axes)
    return g if g.shape == shape else np.reshape(g, shape)


def in_dtype(g: Any, dtype: Any) -> Any:
    """Return a cotangent or tangent in the dtype of its primal; that of a real primal is real."""
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = np.real(g)
    return g if g.dtype == dtype else g.astype(dtype)


def finished(g: Any, value: Any, seen: set[int]) -> Any:
    """Return a cotangent as a gradient: an array of its own, writable, of the primal's shape and dtype."""
    if g is None:
        return np.zeros(np.shape(value), np.result_type(value))
    if type(g) is Array:
        return g
    if isinstance(g, np.ndarray) and (g.base is not None or not g.flags.writeable or id(g) in seen):
        g = np.array(g, order="C")
    seen.add(id(g))
    return g
