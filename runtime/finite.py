"""The search for the op that made a NaN or an infinity, from a function that returns one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from . import trees
from .arguments import is_differentiable_leaf, trace_leaf, untraced
from .array import Array, apply, plain
from .errors import InputError, TapeError
from .lines import Line, source
from .listing import describe, parameters_text
from .op import Op
from .text import shortened
from .watch import Site, Watch, whereabouts

_FINITE, _INFINITE, _NAN = range(3)
_MOST_OPERANDS = 6


@dataclass(frozen=True, slots=True)
class Content:
    """What an array held: its name, type, the range of its finite elements, and how many others there are.

    `minimum` and `maximum` are None where nothing is finite, and of complex elements those of their absolute values.
    `first` is the index of the first element that is not finite, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    minimum: float | None
    maximum: float | None
    nans: int
    infinities: int
    first: tuple[int, ...] | None

    @property
    def nonfinite(self) -> int:
        """The number of elements that are NaN or infinite."""
        return self.nans + self.infinities

    def __str__(self) -> str:
        span = "no finite element" if self.minimum is None else f"{self.minimum:.6g} to {self.maximum:.6g}"
        bad = f", {_count(self)}" if self.nonfinite else ""
        return f"{self.name}: {describe(self.shape, self.dtype)}, {span}{bad}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step by which a program went wrong: an op whose output is worse than its inputs, or where the bad numbers came in.

    `kind` is "op", "argument" or "constant". For an op: its name, parameters, inputs and output; the sweep it ran in
    ("forward", "reverse" or "tangent"), there with the op whose rule ran (`rule_of`); and the user's line. `cause` is the
    finding behind infinite inputs, of which this op made NaN.
    """

    kind: str
    op: str
    parameters: dict
    inputs: tuple[Content, ...]
    output: Content
    sweep: str
    rule_of: str | None
    line: Line | None
    cause: Finding | None

    @property
    def filename(self) -> str:
        """The user's file."""
        return self.line[0].co_filename if self.line else ""

    @property
    def line_number(self) -> int:
        """The line in the user's file, 0 where it is not known."""
        return self.line[1] if self.line else 0

    @property
    def source(self) -> str:
        """The text of the line."""
        return source(self.line)

    def _what(self) -> str:
        bad, first = _count(self.output), self.output.first
        if self.kind == "argument":
            return f"{self.output.name} itself holds {bad}"
        if self.kind == "constant":
            return f"a constant that {self.op} reads holds {bad}"
        at = f", the first at {list(first)}" if first else ""
        rule = f" of {self.rule_of}" if self.rule_of else ""
        when = {"forward": "", "reverse": f" in the reverse sweep, by the rule{rule}", "tangent": f" in the tangent{rule}"}
        return f"{self.op} made {bad} in {describe(self.output.shape, self.output.dtype)}{at}{when[self.sweep]}"

    def _where(self) -> str:
        if self.line is None:
            return ""
        text = f"{self.filename}:{self.line_number}, in {self.line[0].co_name}"
        return f"{text}: {self.source}" if self.source else text

    def __str__(self) -> str:
        lines = [self._what()]
        if self.line:
            lines.append(f"  {self._where()}")
        if self.kind == "op":
            shown = [f"  {content}" for content in self.inputs[:_MOST_OPERANDS]]
            if len(self.inputs) > _MOST_OPERANDS:
                shown.append(f"  ... {len(self.inputs) - _MOST_OPERANDS} inputs more")
            words = parameters_text(self.parameters)
            lines += [*shown, *([f"  {', '.join(words)}"] if words else [])]
        return "\n".join(lines)


class NonfiniteError(TapeError, ArithmeticError):
    """A program returned, or computed, a NaN or an infinity.

    `finding` is the first op that made one; its `op`, `parameters`, `inputs`, `output`, `sweep`, `rule_of`, `filename`,
    `line_number` and `source` are attributes here too, None where no op that was seen made it. `findings` is the whole
    way, from what came first to what made NaN of an infinity.
    """

    op: str | None
    parameters: dict | None
    inputs: tuple[Content, ...] | None
    output: Content | None
    sweep: str | None
    rule_of: str | None
    filename: str | None
    line_number: int | None
    source: str | None

    def __init__(self, symptom: str, last: Finding | None) -> None:
        way: list[Finding] = []
        while last is not None:
            way.insert(0, last)
            last = last.cause
        self.findings = tuple(way)
        self.finding = next((finding for finding in way if finding.kind == "op"), None)
        for name in ("op", "parameters", "inputs", "output", "sweep", "rule_of", "filename", "line_number", "source"):
            setattr(self, name, getattr(self.finding, name, None))
        text = "\nthen ".join(map(str, way)) or (
            "no op that was seen made it: plain NumPy did, on what is not an argument or has been read out of one"
        )
        super().__init__(f"{symptom}: {text}" if symptom else text)


def check_finite(f: Callable, *args: Any, anywhere: bool = False, **keywords: Any) -> Any:
    """Return ``f(*args, **keywords)`` if all of it is finite; raise `NonfiniteError` naming the op that spoilt it if not.

    `f` is any function, a gradient too: ``check_finite(rt.value_and_grad(loss), params, batch)`` looks at the forward and
    the reverse sweep, and names the forward line whose rule failed. The op that is named is the first whose output had a
    NaN or an infinity that its inputs had not, of those that the result descends from: what a program masks out (with
    `np.where`, with ``-inf`` before a softmax) is no fault. With `anywhere`, the first such op raises at once, masked or not.

    The numbers are those that a transform of `f` computes, bit for bit. Every output is looked at, which takes a tenth of
    the time more for large arrays and ten times as long for tiny ones, and nothing is overwritten in place; a memory budget
    of `f` is put aside.
    Raises `InputError` when the arguments hold no floating-point arrays or numbers to follow.

    >>> import numpy as np, retape as rt
    >>> try:
    ...     rt.check_finite(rt.grad(lambda x: np.sum(np.sqrt(x))), np.array([4.0, 0.0]))
    ... except rt.NonfiniteError as error:
    ...     error.sweep, error.rule_of, error.output.first
    ('reverse', 'sqrt', (1,))
    """
    leaves, treedef = trees.flatten((args, keywords))
    if not any(is_differentiable_leaf(leaf) for leaf in leaves):
        raise InputError("check_finite follows what becomes of the arguments, and these hold no floating-point arrays")
    with _Search(anywhere) as search:
        paths = _paths(args, keywords)
        boxes = [
            trace_leaf(search.enter, leaf, path) if is_differentiable_leaf(leaf) else leaf
            for path, leaf in zip(paths, leaves, strict=True)
        ]
        traced_args, traced_keywords = trees.unflatten(treedef, boxes)
        output = f(*traced_args, **traced_keywords)
        paths, found, _ = trees.flatten_with_paths(output)
        for path, leaf in zip(paths, found, strict=True):
            if not isinstance(leaf, (Array, np.ndarray, np.generic, float, complex)):
                continue
            value = plain(leaf)
            if _badness(value) != _FINITE:
                finding = leaf._slot if type(leaf) is Array and leaf._level is search else None
                raise NonfiniteError(f"result{path} holds {_count(_content('', value))}", finding)
        return untraced(output, search)


def _paths(args: tuple, keywords: dict) -> list[str]:
    names = [f"argument {k}{path}" for k, arg in enumerate(args) for path in trees.flatten_with_paths(arg)[0]]
    # The leaves of a dictionary come in the order of its keys.
    return names + [f"argument {path}" for path in trees.flatten_with_paths(keywords)[0]]


@final
class _Search(Watch):
    """Looks at every output. The note of an array is the finding that its bad numbers descend from, None if it is finite."""

    __slots__ = ("anywhere",)

    def __init__(self, anywhere: bool) -> None:
        super().__init__()
        self.anywhere = anywhere

    def enter(self, value: Any, name: str) -> Array:
        """Return the traced array of an argument."""
        finding = None
        if _badness(plain(value)) != _FINITE:
            finding = Finding("argument", "", {}, (), _content(name, plain(value)), "forward", None, None, None)
        return self.input(value, finding)

    def run(self, op: Op, values: list, notes: list, parameters: dict | None, gives_up: bool) -> tuple[Any, Any]:
        """Run `op` and return its output with what spoilt it."""
        # Never in place: what an op made bad numbers of must be there to be shown.
        places = self.places()
        where = whereabouts(self.sites) if places else None
        for place in places:
            self.sites[place] = Site(op.name, where.line if where else None)
        try:
            y = apply(op, values, parameters)
        except (np.linalg.LinAlgError, ValueError) as error:
            spoilt = next((note for note in notes if note is not None), None)
            if spoilt is not None and (isinstance(error, np.linalg.LinAlgError) or "nan" in str(error).lower()):
                raise NonfiniteError(f"{op.name} raised {type(error).__name__} ({error})", spoilt) from error
            raise
        badness = _badness(plain(y))
        if badness == _FINITE:
            return y, None
        where = where or whereabouts(self.sites)
        worst, cause = _FINITE, None
        for position, (value, note) in enumerate(zip(values, notes, strict=True)):
            found = _badness(plain(value))
            if found > worst:
                worst = found
                cause = note or self._constant(op, position, plain(value), where.line)
        if badness <= worst or where.sweep == "probe":
            return y, cause
        inputs = tuple(_content(_input_name(op, k), plain(value)) for k, value in enumerate(values))
        rule_of = where.rule_of.op if where.rule_of else None
        output = _content("output", plain(y))
        finding = Finding("op", op.name, parameters or {}, inputs, output, where.sweep, rule_of, where.line, cause)
        if self.anywhere:
            raise NonfiniteError("", finding)
        return y, finding

    def _constant(self, op: Op, position: int, value: Any, line: Line | None) -> Finding:
        content = _content(_input_name(op, position), value)
        return Finding("constant", op.name, {}, (), content, "forward", None, line, None)


def _input_name(op: Op, position: int) -> str:
    last = len(op.inputs) - 1
    return f"{op.inputs[last]}[{position - last}]" if op.is_variadic and position >= last else op.inputs[position]


def _badness(value: Any) -> int:
    """Return `_FINITE`, `_INFINITE` or `_NAN`, the worst that is in a plain value."""
    if isinstance(value, float):
        return _FINITE if math.isfinite(value) else _NAN if math.isnan(value) else _INFINITE
    if getattr(getattr(value, "dtype", None), "kind", "") not in ("f", "c") and not isinstance(value, complex):
        return _FINITE
    if np.isfinite(value).all():
        return _FINITE
    return _NAN if np.isnan(value).any() else _INFINITE


def _content(name: str, value: Any) -> Content:
    array = np.asarray(value)
    if array.dtype.kind not in "fc":
        sizes = np.asarray(array, np.float64) if array.dtype.kind in "iub" else np.zeros(0)
        span = (float(sizes.min()), float(sizes.max())) if sizes.size else (None, None)
        return Content(name, array.shape, array.dtype, *span, 0, 0, None)
    is_finite = np.isfinite(array)
    finite = array[is_finite]
    sizes = np.abs(finite) if array.dtype.kind == "c" else finite
    span = (float(sizes.min()), float(sizes.max())) if sizes.size else (None, None)
    nans = int(np.count_nonzero(np.isnan(array)))
    bad = np.argwhere(~is_finite)
    first = tuple(int(k) for k in bad[0]) if len(bad) else None
    return Content(name, array.shape, array.dtype, *span, nans, len(bad) - nans, first)


def _count(content: Content) -> str:
    words = [f"{content.nans} nan"] if content.nans else []
    words += [f"{content.infinities} inf"] if content.infinities else []
    return shortened(" and ".join(words), 80)
