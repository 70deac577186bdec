"""explain: an `Explanation` of where a gradient's time and memory go, measured while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, final

import numpy as np

from .arguments import Arguments, check_function, check_scalar, split_aux
from .array import Array, apply
from .errors import InputError
from .explanation import Explanation, Row
from .lines import place, source, user_line
from .op import Op
from .region import Region
from .region import _step_back as _step_back_region
from .trail import WIDTH, Trail, run_over
from .transforms import plain_value_and_grad
from .watch import Site, Watch


def explain(
    f: Callable,
    *args: Any,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    by: str = "op",
    rounds: int = 5,
) -> Explanation:
    """Return where the time and the memory of the gradient of `f` at `args` go, by "op" or by "line" of your program.

    `f` runs three times a round, and in one round more to warm up: with a clock around every op, with a clock around every
    step of the reverse sweep, and without any, to see what the clocks cannot. Times are medians. Of nested transforms the
    ops inside count for the line that calls them. An output that is not a real scalar is explained without its reverse
    sweep. Raises `ValueError` for another `by`, and what `grad` raises.

    >>> import numpy as np, retape as rt
    >>> found = rt.explain(lambda w, x: np.sum(np.tanh(x @ w)), np.ones((50, 40)), np.ones((30, 50)))
    >>> sorted((row.name, row.calls, row.output_bytes, row.residual_bytes) for row in found.rows)
    [('matmul', 1, 9600, 0), ('sum', 1, 8, 0), ('tanh', 1, 9600, 9600)]
    """
    if by not in ("op", "line"):
        raise ValueError(f"by={by!r} is none of: 'op', 'line'")
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1")
    check_function(f)
    tick = _seconds_of_the_clock()
    warm = _round(f, args, argnums, has_aux, tick)
    _whole(f, args, argnums, has_aux, warm.has_reverse)
    whole = []
    found = []
    for _ in range(rounds):
        whole.append(_whole(f, args, argnums, has_aux, warm.has_reverse))
        found.append(_round(f, args, argnums, has_aux, tick))
    ops = _rows(found, lambda site: (site.op, ""))
    lines = _rows(found, lambda site: (place(site.line), source(site.line)))
    last = found[-1]
    return Explanation(
        by,
        ops if by == "op" else lines,
        lines,
        sum(row.seconds for row in ops),
        median(whole),
        last.record_bytes,
        last.captured_bytes,
        rounds,
        last.has_reverse,
    )


@dataclass(slots=True)
class _Cell:
    """What the calls of one op on one line cost in one round."""

    calls: int = 0
    forward_seconds: float = 0.0
    reverse_seconds: float = 0.0
    output_bytes: int = 0
    residual_bytes: int = 0


@dataclass(slots=True)
class _Round:
    cells: dict[Site, _Cell] = field(default_factory=dict)
    record_bytes: int = 0
    captured_bytes: int = 0
    has_reverse: bool = False


@final
class _Clock(Watch):
    """Takes the time of every op. The note of an array is the site that made its memory, None where it was there before."""

    __slots__ = ("cells", "tick", "trail", "made_by")

    def __init__(self, cells: dict[Site, _Cell], tick: float) -> None:
        super().__init__()
        self.cells = cells
        self.tick = tick
        self.trail: Trail | None = None
        self.made_by: dict[int, Site] = {}  # by place on the trail

    def run(self, op: Op, values: list, notes: list, parameters: dict | None, gives_up: bool) -> tuple[Any, Any]:
        """Run `op` and add its time to the cell that it belongs to."""
        start = time.perf_counter()
        y = run_over(op, values, parameters) if gives_up else apply(op, values, parameters)
        seconds = max(time.perf_counter() - start - self.tick, 0.0)
        site = Site(op.name, user_line())
        cell = self.cells.setdefault(site, _Cell())
        cell.calls += 1
        cell.forward_seconds += seconds
        if self.trail is not None:
            self.made_by[len(self.trail.calls)] = site
        memory = _root(y)
        for value, note in zip(values, notes, strict=True):
            if _root(value) is memory:
                return y, note
        cell.output_bytes += getattr(memory, "nbytes", 0)
        return y, site


def _root(array: Any) -> Any:
    """Return the array that owns the memory of `array`."""
    while type(array) is Array:
        array = array._value
    while isinstance(array, np.ndarray) and isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _round(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, tick: float) -> _Round:
    """Run `f` with a clock around every op, and again, as ever, with a clock around every step of the reverse sweep."""
    found = _Round()
    with _Clock(found.cells, tick) as clock:
        with Trail() as trail:
            arguments = Arguments(args, argnums, lambda leaf: trail.input(clock.input(leaf)))
            clock.trail = trail
            found.has_reverse = _is_loss(_output(f, arguments, has_aux))
        _weigh(trail, clock, found)
    length = len(trail.calls)
    del trail, clock.trail, arguments
    if found.has_reverse:
        with Trail() as trail:
            output = _output(f, Arguments(args, argnums, trail.input), has_aux)
        if type(output) is Array and output._level is trail and output._slot is not None:
            sums = {output._slot: np.ones((), output.dtype)}
            del output
            _pull(trail, sums, clock.made_by if len(trail.calls) == length else {}, found.cells, tick)
    return found


def _output(f: Callable, arguments: Arguments, has_aux: bool) -> Any:
    """Return the output of `f`, which is given its traced arguments for its own."""
    traced = arguments.traced
    arguments.traced, arguments.arrays = [], []
    return split_aux(f(*traced), has_aux)[0]


def _pull(trail: Trail, sums: dict[int, Any], made_by: dict[int, Site], cells: dict[Site, _Cell], tick: float) -> None:
    """Do as `Trail.pull`, and add the time of every step back to the cell of the call that it belongs to."""
    calls = trail.calls
    times: list[tuple[int, float]] = []
    for number in range(len(calls) - WIDTH, trail.first - WIDTH, -WIDTH):
        g = sums.pop(number, None)
        if g is not None:
            start = time.perf_counter()
            calls[number](g, sums, *calls[number + 1 : number + WIDTH])
            times.append((number, time.perf_counter() - start - tick))
    for number, seconds in times:
        made = number
        while made not in made_by and made > trail.first:  # what a checkpointed function returns has no op
            made -= WIDTH
        owner = made_by.get(made, Site("another path", None))
        if calls[number] is _step_back_region:
            owner = Site("checkpoint", owner.line)
        cells.setdefault(owner, _Cell()).reverse_seconds += max(seconds, 0.0)


def _is_loss(output: Any) -> bool:
    try:
        check_scalar(output)
    except InputError:
        return False
    return True


def _weigh(trail: Trail, clock: _Clock, found: _Round) -> None:
    """Add up what a trail holds: the memory that the program made, captured arrays, and its own records."""
    seen: set[int] = set()
    stack: list[Any] = [trail.calls]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (list, tuple)):
            found.record_bytes += sys.getsizeof(item)
            stack += item
        elif type(item) is int:
            found.record_bytes += sys.getsizeof(item)
        elif type(item) is Region:
            stack += (item.slots, item.values, item.calls)
        elif isinstance(item, (Array, np.ndarray)):
            memory = _root(item)
            if memory is not item and id(memory) in seen:
                continue
            seen.add(id(memory))
            if type(item) is not Array:
                found.captured_bytes += memory.nbytes
            elif item._level is clock and item._slot is not None:
                found.cells[item._slot].residual_bytes += memory.nbytes


def _whole(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, has_reverse: bool) -> float:
    """Return the time of a gradient, or of a recorded forward sweep, without any clock inside."""
    start = time.perf_counter()
    if has_reverse:
        plain_value_and_grad(f, args, argnums, {}, has_aux=has_aux)
    else:
        with Trail() as trail:
            _output(f, Arguments(args, argnums, trail.input), has_aux)
    return time.perf_counter() - start


def _rows(rounds: list[_Round], group: Callable[[Site], tuple[str, str]]) -> tuple[Row, ...]:
    """Return the medians over rounds of the cells added up by `group`, a row's name and source; the slowest first."""
    sums: list[dict[tuple[str, str], _Cell]] = []
    for one in rounds:
        total: dict[tuple[str, str], _Cell] = {}
        for site, cell in one.cells.items():
            into = total.setdefault(group(site), _Cell())
            into.calls += cell.calls
            into.forward_seconds += cell.forward_seconds
            into.reverse_seconds += cell.reverse_seconds
            into.output_bytes += cell.output_bytes
            into.residual_bytes += cell.residual_bytes
        sums.append(total)
    times = {}
    for key, cell in sums[-1].items():
        cells = [total[key] for total in sums if key in total]
        times[key] = (median(c.forward_seconds for c in cells), median(c.reverse_seconds for c in cells), cell)
    whole = sum(forward + reverse for forward, reverse, _ in times.values())
    rows = [
        Row(
            name or "?",
            cell.calls,
            forward,
            reverse,
            cell.output_bytes,
            cell.residual_bytes,
            (forward + reverse) / whole if whole else 0.0,
            text,
        )
        for (name, text), (forward, reverse, cell) in times.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def _seconds_of_the_clock() -> float:
    """Return what a clock adds to every time that it takes."""
    found = []
    for _ in range(1000):
        start = time.perf_counter()
        found.append(time.perf_counter() - start)
    return median(found)
