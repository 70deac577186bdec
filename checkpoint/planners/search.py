"""search: the best plan of many: eviction rules tried at the budget and below it, slack filled, then rules made wiser.

Three devices. (1) An ensemble: no single rule wins everywhere. (2) Moves: a plan that fits still repeats computations that
its free memory would spare; they are taken out one by one, dearest per byte first, together with all that only served
them (see `moves`). A plan made for somewhat less memory and filled up is often better than one made for the budget
itself. Whatever is best so far is bettered by exchanges: dear repetitions for cheap ones. (3) Weights: values are made
dearer or cheaper at random, a run of neighbours at a time, and what helps is kept. All of it is seeded and its effort is
counted in steps: the same program and budget give the same plan on any machine, however busy. No optimality guarantee.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DoesNotFit
from ..hoisting import hoisting
from ..order import steps_of
from ..plan import Plan
from ..program import Program
from ..residency import Residency
from ..rules import Hold, Rule
from ..simulation import MOST_STEPS, run_through
from ..steps import Compute
from ..timeline import Timeline
from .ancestors import RULE as PER_BYTE
from .boundaries import boundary_sets
from .chain import chain
from .moves import exchange, fill
from .next_use import RULE as NEXT_USE
from .revolve import revolve
from .staleness import RULE as STALENESS
from .uniform import uniform

_EFFORT = 100_000
_MOST_EFFORT_PER_VALUE = 200
_LEAST_EFFORT_PER_VALUE = 22
_FUTILE = 30_000
_LONG = 4_000  # values: one attempt that leads nowhere is futile by then
_STEPS_OF_A_REMOVAL = 4  # one takes about as long as so many simulated steps
_STEPS_OF_AN_EXCHANGE = 15
_LONG_TIMELINE = 10_000  # values
_REMOVALS_PER_VALUE = 2
_SHARES = (0.999, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82)
_RATIO = 1.03
_FACTORS = (0.1, 0.3, 3.0, 10.0)
_HALF = Rule(power=0.5)
_QUARTER = Rule(power=0.25)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A way to make a plan: a rule, the share of the budget that it is given, weights and holds of values."""

    rule: Rule
    share: float = 1.0
    weights: np.ndarray | None = None
    holds: Mapping[int, Hold] | None = None


@dataclass(slots=True, eq=False)
class Search:
    """What is known so far: the best order of computations, its cost in seconds, and the `effort` that is left."""

    program: Program
    budget: float
    effort: int
    cost: float = math.inf
    order: list[int] | None = None

    def is_done(self) -> bool:
        """Tell whether a plan is found that cannot be bettered, or one is found and the effort is spent."""
        return self.order is not None and (self.effort <= 0 or len(self.order) == len(set(self.order)))

    def is_futile(self, given: int) -> bool:
        """Tell whether no plan is found though so much of the effort that was `given` is spent that none is likely."""
        return self.order is None and given - self.effort > _FUTILE

    def try_out(self, attempt: Attempt, *, fills: bool = True) -> float:
        """Return the cost of the attempt's plan, filled up to the budget; infinity where it does not fit."""
        order = self._order(attempt)
        return math.inf if order is None else self.take(order, fills=fills)

    def _order(self, attempt: Attempt) -> list[int] | None:
        """Return the order of computations that an attempt leads to, or None where it does not fit."""
        # A plan of several times the best one's steps is not going to be better.
        most = MOST_STEPS * len(self.program) if self.order is None else 4 * len(self.order)
        residency = Residency(
            self.program,
            _rung(self.budget * attempt.share) if attempt.share < 1 else self.budget,
            knows_future=True,
            rule=attempt.rule,
            weights=attempt.weights,
            holds=attempt.holds,
            most=most + 200,
        )
        try:
            return [step.value for step in run_through(residency) if type(step) is Compute]
        except DoesNotFit:
            return None
        finally:
            self.effort -= residency.taken

    def take(self, order: list[int], *, fills: bool = True) -> float:
        """Fill up an order that fits; if it is the best, better it by exchanges and keep it. Return its cost."""
        timeline = Timeline(self.program, order)
        if fills:
            self._fill(timeline)
        if timeline.cost < self.cost:
            self.cost, self.order = timeline.cost, timeline.computations()
        return timeline.cost

    def _fill(self, timeline: Timeline) -> None:
        # A move passes over the whole timeline, which tells on long ones: there, moves end with the effort.
        count = len(self.program)
        times = max(count // _LONG_TIMELINE, 1)
        removal, exchanging = times * _STEPS_OF_A_REMOVAL, times * _STEPS_OF_AN_EXCHANGE
        most = max(self.effort, 0) // (2 * removal) if times > 1 else _REMOVALS_PER_VALUE * count
        self.effort -= removal * fill(timeline, self.budget, most)
        while timeline.cost < self.cost and self.effort >= exchanging * len(timeline.repeated()) > 0:
            before = timeline.cost
            self.effort -= exchanging * exchange(timeline, self.budget)
            self.effort -= removal * fill(timeline, self.budget)
            if timeline.cost >= before:
                break


def search(program: Program, budget: float, *, effort: int | None = None) -> Plan | None:
    """Return the best plan found with about `effort` simulated steps, or None when no rule finds a way within `budget`.

    Ten thousand steps take about a tenth of a second; 100,000 are spent by default, fewer on programs of less than 500
    values, more on those of more than 4,500. However small the effort, the essential rules are tried until one fits, or
    30,000 steps have led nowhere.
    Where hoisting helps (see `hoisting`), the search is made in that order of values, and the program's own only compared.

    >>> program = Program(outputs=(3,), forward=2)
    >>> for inputs in ((), (0,), (1,), (0, 2)):
    ...     _ = program.add(10, inputs, cost=1.0)
    >>> plan = search(program, 40)
    >>> plan.work_seconds, plan.projected_peak_bytes, search(program, 29)
    (4.0, 30, None)
    """
    ahead = hoisting(program)
    if ahead is None:
        return _searched(program, budget, effort)
    found = _searched(ahead.program, budget, effort)
    other = _searched(program, budget, effort if found is None else 0)
    if found is None or other is not None and other.work_seconds < found.work_seconds:
        return other
    return Plan(program, ahead.steps_for(program, found.steps), "search", found.budget_bytes)


def _searched(program: Program, budget: float, effort: int | None) -> Plan | None:
    """Return the best plan found in the program's own order of values."""
    if effort is None:
        effort = max(min(_EFFORT, _MOST_EFFORT_PER_VALUE * len(program)), _LEAST_EFFORT_PER_VALUE * len(program))
    state = Search(program, budget, effort)
    tried: list[tuple[float, int, Attempt]] = []
    # Filling up a long order takes longer than finding it: there, only the best of all is filled up.
    is_long = len(program) >= _LONG_TIMELINE
    for attempt in essential(program):
        tried.append((state.try_out(attempt, fills=not is_long), len(tried), attempt))
        if state.is_done() or state.is_futile(effort):
            break
    if is_long and state.order is not None:
        _cut(state, (uniform,), fills=False)
        state.take(state.order)
    for attempt in variations(program):
        if state.effort <= 0 or state.is_done() or state.is_futile(effort):
            break
        tried.append((state.try_out(attempt), len(tried), attempt))
    if state.order is None:
        _cut(state, (revolve,))
    elif not is_long and state.effort > 0 and not state.is_done():
        _cut(state, (uniform, chain, revolve))
    if state.order is None:
        return None
    improve(state, [(cost, attempt) for cost, _, attempt in sorted(tried, key=lambda row: row[:2]) if cost < math.inf])
    return _plan(state)


def _cut(state: Search, planners: Iterable[Callable[[Program, float], Plan | None]], *, fills: bool = True) -> None:
    """Take the plans of planners that cut the program into segments."""
    for planner in planners:
        state.effort -= 4 * len(state.program)
        made = planner(state.program, state.budget)
        if made is not None:
            state.take([step.value for step in made.steps if type(step) is Compute], fills=fills)


def filled(plan: Plan, budget: float) -> Plan:
    """Return a plan made for less memory with what a larger budget spares of its repeated computations."""
    state = Search(plan.program, budget, 0)
    state.take([step.value for step in plan.steps if type(step) is Compute])
    return _plan(state)


def _rung(budget: float) -> float:
    """Return the next lower of fixed budgets: budgets near each other share attempts, so more memory is hardly ever worse."""
    return budget if budget == math.inf else _RATIO ** math.floor(math.log(max(budget, 1)) / math.log(_RATIO))


def _plan(state: Search) -> Plan:
    assert state.order is not None
    budget = None if state.budget == math.inf else int(state.budget)
    return Plan(state.program, steps_of(state.program, state.order), "search", budget)


def essential(program: Program) -> Iterator[Attempt]:
    """Yield the attempts that decide whether a budget is feasible at all, those first that long programs need."""
    rules = [Attempt(NEXT_USE), Attempt(PER_BYTE), Attempt(_HALF)]
    # Value by value, a long chain is computed from its start again and again; to find that out takes longer than all cuts.
    is_long = len(program) > _LONG
    if not is_long:
        yield from rules
    for holds in boundary_sets(program):
        yield Attempt(NEXT_USE, holds=holds)
    if is_long:
        yield from rules


def variations(program: Program) -> Iterator[Attempt]:
    """Yield the attempts made besides, those that win most often first."""
    sizes = np.maximum(np.array(program.sizes, float), 1.0)
    yield Attempt(_HALF, 0.9)
    yield Attempt(_QUARTER, weights=sizes**0.25)
    yield Attempt(STALENESS)
    yield Attempt(_QUARTER)
    for share in _SHARES:  # near the least memory it is chance which of them does well: none is left out
        yield Attempt(_HALF, share)
    for share in _SHARES[::2]:
        yield Attempt(_QUARTER, share, sizes**0.25)
        yield Attempt(PER_BYTE, share)
    yield Attempt(_HALF, 0.96, sizes**-0.5)
    for holds in boundary_sets(program):
        yield Attempt(_HALF, 0.9, holds=holds)


def improve(state: Search, tried: list[tuple[float, Attempt]]) -> None:
    """Make the best three attempts better by changing weights of values, as long as there is effort."""
    count, forward = len(state.program), max(state.program.forward, 1)
    random = np.random.default_rng(0)
    climbers = [
        (cost, attempt, np.ones(count) if attempt.weights is None else attempt.weights) for cost, attempt in tried[:3]
    ]
    turn = 0
    while climbers and not state.is_done():
        turn += 1
        cost, attempt, weights = climbers[turn % len(climbers)]
        changed = weights.copy()
        for _ in range(random.integers(1, 4)):
            first = random.integers(0, forward)
            changed[first : first + random.integers(1, 9)] *= random.choice(_FACTORS)
        found = state.try_out(Attempt(attempt.rule, attempt.share, changed, attempt.holds))
        if found <= cost:
            climbers[turn % len(climbers)] = found, attempt, changed
