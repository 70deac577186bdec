"""Functions with derivatives of the user's own: custom_vjp and custom_jvp."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .arguments import is_differentiable_leaf
from .array import Array, apply, entered, traced
from .errors import RuleError
from .forward import Forward
from .levels import Level
from .lines import definition
from .op import HOOKS, OPS, Op, compile_rule
from .python_numbers import is_python_number, value_of
from .region import Region, step_back_result
from .rules import require_digits
from .tape import Tape
from .trail import Trail
from .transforms import pulled_back, transposed


class Custom(ABC):
    """A function whose derivative is given, not found; each level that it is called at asks for it anew."""

    def __init__(self, f: Callable) -> None:
        functools.update_wrapper(self, f, updated=())
        self.function = f
        self._ops: dict[Any, Op] = {}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return the function's value; traced arguments get its derivative."""
        leaves, treedef = trees.flatten((args, keywords))
        leaves = [entered(leaf) for leaf in leaves]
        level: Level | None = max(
            (leaf._level for leaf in leaves if type(leaf) is Array), key=lambda level: level.level, default=None
        )
        if level is None:
            return self.function(*args, **keywords)
        level.require_open()
        if level.is_batch:
            return HOOKS["custom_on_batch"](self, level, leaves, treedef)
        if isinstance(level, Tape):
            return self._on_tape(level, leaves, treedef)
        if isinstance(level, Region):
            return level.call(lambda *inner: self._called(list(inner), treedef), leaves)
        values = [value_of(leaf) if type(leaf) is Array and leaf._level is level else leaf for leaf in leaves]
        active = [
            k for k, leaf in enumerate(leaves) if type(leaf) is Array and leaf._level is level and leaf._slot is not None
        ]
        if isinstance(level, Forward):
            return self._on_forward(level, leaves, values, active, treedef)
        assert isinstance(level, Trail)
        return self._on_trail(level, leaves, values, active, treedef)

    @abstractmethod
    def _value_and_pull(self, values: list, treedef: Any, *, is_nested: bool) -> tuple[Any, Callable]:
        """Return the output, and a function from the output's cotangent to those of all leaves (None for none).

        With `is_nested`, the values are traced by an outer level too, and its output must carry the rule.
        """

    @abstractmethod
    def _value_and_push(self, values: list, tangents: list, treedef: Any) -> tuple[Any, Any]:
        """Return the output and its tangent; `tangents` holds zeros where a leaf has none."""

    def _called(self, leaves: list, treedef: Any) -> Any:
        args, keywords = trees.unflatten(treedef, leaves)
        return self(*args, **keywords)

    def _on_trail(self, trail: Trail, leaves: list, values: list, active: list[int], treedef: Any) -> Any:
        output, pull = self._value_and_pull(values, treedef, is_nested=_is_traced(values))
        outputs, out_tree = trees.flatten(output)
        if not active:
            return output
        slots = [leaves[k]._slot for k in active]
        call = trail.add(_step_back, (slots, active, self, pull, values, outputs, out_tree), None)._slot
        results = [
            trail.add(step_back_result, (call, k), y) if is_differentiable_leaf(y) else y for k, y in enumerate(outputs)
        ]
        return trees.unflatten(out_tree, results)

    def _on_forward(self, level: Forward, leaves: list, values: list, active: list[int], treedef: Any) -> Any:
        tangents = [
            leaves[k]._slot if k in active else _zeros_like(value) if is_differentiable_leaf(value) else None
            for k, value in enumerate(values)
        ]
        output, tangent = self._value_and_push(values, tangents, treedef)
        outputs, out_tree = trees.flatten(output)
        given = _checked(trees.flatten(tangent)[0], outputs, self, "tangent", "output")
        results = [
            traced(level, t, y) if is_differentiable_leaf(y) and t is not None else y
            for y, t in zip(outputs, given, strict=True)
        ]
        return trees.unflatten(out_tree, results)

    def _on_tape(self, tape: Tape, leaves: list, treedef: Any) -> Any:
        """Record the function's own calls, cut off from derivatives, and beside each output a call that has the rule."""
        cut = [apply(OPS["stop_gradient"], (leaf,)) if type(leaf) is Array else leaf for leaf in leaves]
        args, keywords = trees.unflatten(treedef, cut)
        outputs, out_tree = trees.flatten(self.function(*args, **keywords))
        places = tuple(k for k, leaf in enumerate(leaves) if isinstance(leaf, (Array, np.ndarray, np.generic, float)))
        others = tuple(leaf for k, leaf in enumerate(leaves) if k not in places)
        operands = [leaves[k] for k in places]
        results = [
            tape.record(self._op(treedef, places, k), (y, *operands), {"others": others}) if type(y) is Array else y
            for k, y in enumerate(outputs)
        ]
        return trees.unflatten(out_tree, results)

    def _op(self, treedef: Any, places: tuple[int, ...], number: int) -> Op:
        """Return the op that passes on output `number` and carries the rule; the same one for the same kind of call."""
        key = (treedef, places, number)
        if key in self._ops:
            return self._ops[key]
        last: list[Any] = [None, None]

        def rule(g: Any, position: int, primals: tuple, others: tuple) -> Any:
            # Asked once per argument: the backward function runs once per cotangent.
            if last[0] is not g:
                rest, given = iter(others), dict(zip(places, primals, strict=True))
                values = [given[k] if k in given else next(rest) for k in range(len(places) + len(others))]
                # What stands on the tape carries the rule already: of this output only the shapes are looked at.
                output, pull = self._value_and_pull(values, treedef, is_nested=False)
                outputs, out_tree = trees.flatten(output)
                seeds = [g if k == number else _zeros_like(y) for k, y in enumerate(outputs)]
                last[:] = g, _checked(pull(trees.unflatten(out_tree, seeds)), values, self, "cotangent", "argument")
            share = last[1][places[position - 1]]
            return _zeros_like(primals[position - 1]) if share is None else share

        name = f"{getattr(self.function, '__name__', 'custom')} (custom rule)"
        inputs = ("out", "primals")
        rules = (None, compile_rule(name, rule, inputs, ("others",), is_variadic=True))
        self._ops[key] = Op(
            name, lambda out, *_, others=(): out, inputs, rules, lambda out, *_, others: (out, True), lambda *_, others: 0.0,
            None, is_view=True, is_variadic=True, overwrites=None, run_into=None, reads_target=False, zero_gradient=False,
        )  # fmt: skip
        return self._ops[key]


class custom_vjp(Custom):  # noqa: N801
    """A function with a reverse rule of your own.

    `forward(*args)` returns ``(output, residuals)``, `backward(residuals, cotangent)` a tuple with one cotangent per
    positional argument, of its shape and dtype (None where there is none; of more digits than the argument's is cast, of
    fewer an error). In forward mode the rule is transposed. Raises `RuleError` for cotangents that do not fit.

    >>> import numpy as np, retape as rt
    >>> @rt.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, g: (np.clip(g, -1.0, 1.0),))
    >>> float(rt.grad(lambda x: 10.0 * clipped(x))(3.0))
    1.0
    """

    def __init__(self, f: Callable) -> None:
        super().__init__(f)
        self.forward: Callable | None = None
        self.backward: Callable | None = None

    def defvjp(self, forward: Callable, backward: Callable) -> None:
        """Give the rule."""
        self.forward, self.backward = forward, backward

    def _value_and_pull(self, values: list, treedef: Any, *, is_nested: bool) -> tuple[Any, Callable]:
        forward, backward = self.forward, self.backward
        if forward is None or backward is None:
            raise RuleError(f"{self.__name__} has no rule yet: call {self.__name__}.defvjp(forward, backward)")  # pyright: ignore
        args, keywords = trees.unflatten(treedef, values)
        pair = forward(*args, **keywords)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise RuleError(f"the forward function of {self.__name__} must return (output, residuals)")  # pyright: ignore
        output, residuals = pair
        if is_nested:
            output = self(*args, **keywords)

        def pull(cotangent: Any) -> list:
            shares = backward(residuals, cotangent)
            if not isinstance(shares, tuple) or len(shares) != len(args):
                found = len(shares) if isinstance(shares, tuple) else type(shares).__name__
                raise RuleError(
                    f"the backward function of {self.__name__} returned {found}, not a tuple of {len(args)} cotangents, "  # pyright: ignore
                    "one per positional argument"
                )
            found = []
            for arg, share in zip(args, shares, strict=True):
                expected = trees.flatten(arg)[0]
                given = [None] * len(expected) if share is None else trees.flatten(share)[0]
                if len(given) != len(expected):
                    raise RuleError(
                        f"the backward function of {self.__name__} returned a cotangent with {len(given)} leaves for an "  # pyright: ignore
                        f"argument with {len(expected)}"
                    )
                found += given
            return found + [None] * (len(values) - len(found))

        return output, pull

    def _value_and_push(self, values: list, tangents: list, treedef: Any) -> tuple[Any, Any]:
        output, pull = self._value_and_pull(values, treedef, is_nested=_is_traced(values))
        wanted = [k for k, tangent in enumerate(tangents) if tangent is not None]

        def shares(cotangent: Any) -> tuple:
            made = _checked(pull(cotangent), values, self, "cotangent", "argument")
            return tuple(made[k] if made[k] is not None else _zeros_like(values[k]) for k in wanted)

        return output, transposed(shares, output)(*(tangents[k] for k in wanted))


class custom_jvp(Custom):  # noqa: N801
    """A function with a forward rule of your own; the reverse sweep transposes it.

    `rule(primals, tangents)` takes two tuples with one entry per positional argument and returns ``(output, tangent)``; it
    must be linear in the tangents. Raises `RuleError` for a tangent that does not fit.

    >>> import numpy as np, retape as rt
    >>> @rt.custom_jvp
    ... def magnitude(x):
    ...     return np.abs(x)
    >>> magnitude.defjvp(lambda primals, tangents: (np.abs(primals[0]), tangents[0] * np.sign(primals[0])))
    >>> float(rt.grad(magnitude)(-3.0))
    -1.0
    """

    def __init__(self, f: Callable) -> None:
        super().__init__(f)
        self.rule: Callable | None = None

    def defjvp(self, rule: Callable) -> None:
        """Give the rule."""
        self.rule = rule

    def _pushed(self, args: Sequence, tangents: Sequence) -> Any:
        if self.rule is None:
            raise RuleError(f"{self.__name__} has no rule yet: call {self.__name__}.defjvp(rule)")  # pyright: ignore
        pair = self.rule(tuple(args), tuple(tangents))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise RuleError(f"the rule of {self.__name__} must return (output, tangent)")  # pyright: ignore
        return pair

    def _value_and_push(self, values: list, tangents: list, treedef: Any) -> tuple[Any, Any]:
        args, keywords = trees.unflatten(treedef, values)
        directions, _ = trees.unflatten(treedef, [0.0 if t is None else t for t in tangents])
        output, tangent = self._pushed(args, directions)
        if _is_traced(values):
            output = self(*args, **keywords)  # an outer level has the rule too
        return output, tangent

    def _value_and_pull(self, values: list, treedef: Any, *, is_nested: bool) -> tuple[Any, Callable]:
        args, keywords = trees.unflatten(treedef, values)
        output = self(*args, **keywords) if is_nested else self.function(*args, **keywords)
        outputs, out_tree = trees.flatten(output)
        wanted = [k for k, value in enumerate(values) if is_differentiable_leaf(value)]

        def pushed(*directions: Any) -> Any:
            given = dict(zip(wanted, directions, strict=True))
            tangents, _ = trees.unflatten(treedef, [given.get(k, 0.0) for k in range(len(values))])
            made = _checked(trees.flatten(self._pushed(args, tangents)[1])[0], outputs, self, "tangent", "output")
            return trees.unflatten(out_tree, [_zeros_like(y) if t is None else t for t, y in zip(made, outputs, strict=True)])

        def pull(cotangent: Any) -> list:
            _, transposed, *_ = pulled_back(pushed, *(np.ones(_shape(values[k]), _dtype(values[k])) for k in wanted))
            found = dict(zip(wanted, transposed(cotangent), strict=True))
            return [found.get(k) for k in range(len(values))]

        return output, pull


def _step_back(cotangents: dict[int, Any], sums: dict, data: tuple, *_: Any) -> None:
    slots, active, function, pull, values, outputs, out_tree = data
    seeds = [cotangents[k] if k in cotangents else _zeros_like(y) for k, y in enumerate(outputs)]
    shares = _checked(pull(trees.unflatten(out_tree, seeds)), values, function, "cotangent", "argument")
    for slot, k in zip(slots, active, strict=True):
        if shares[k] is not None:
            sums[slot] = sums[slot] + shares[k] if slot in sums else shares[k]


def _is_traced(values: list) -> bool:
    return any(type(value) is Array for value in values)


def _shape(value: Any) -> tuple[int, ...]:
    return getattr(value, "shape", ())


def _dtype(value: Any) -> Any:
    return getattr(value, "dtype", None) or np.result_type(value)


def _zeros_like(value: Any) -> Any:
    return np.zeros(_shape(value), _dtype(value))


def _checked(found: Sequence, primals: list, function: Any, what: str, of: str) -> list:
    """Return a rule's results in the dtypes of `primals`. Raises `RuleError` where a shape or a kind does not fit."""
    name = getattr(function, "__qualname__", getattr(function, "__name__", "a custom rule"))
    name += definition(getattr(function, "__wrapped__", function))
    made = []
    if len(found) != len(primals):
        raise RuleError(f"the rule of {name} returned {len(found)} {what}s for {len(primals)} {of}s")
    for number, (g, primal) in enumerate(zip(found, primals, strict=True)):
        if g is None or not is_differentiable_leaf(primal):
            made.append(None)
            continue
        g = g if isinstance(g, (Array, np.ndarray, np.generic)) else np.asarray(g)
        if g.shape != _shape(primal):
            raise RuleError(
                f"the rule of {name} returned a {what} of shape {g.shape} for {of} {number}, whose shape is {_shape(primal)}"
            )
        dtype = _dtype(primal)
        if g.dtype.kind not in "fc" and g.dtype.kind not in "iub" or g.dtype.kind == "c" and dtype.kind != "c":
            raise RuleError(f"the rule of {name} returned a {what} of dtype {g.dtype} for {of} {number} of dtype {dtype}")
        if not is_python_number(primal):
            require_digits(g.dtype, dtype, f"the rule of {name} returned a {what} of dtype {g.dtype} for {of} {number}")
        made.append(g if g.dtype == dtype else g.astype(dtype))
    return made
