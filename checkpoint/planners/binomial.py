"""binomial: the optimal plan of a chain of equal steps, whose reverse reads a step's input and the next cotangent.

Griewank and Walther 2000, "Algorithm 799: revolve". With room for B values and r the least number such that
C(B - 2 + r, r) >= n, a chain of n steps takes n + 1 + r n - C(B - 2 + r, B - 1) computations, forward and reverse: the
minimum. Planned in closed form, in time proportional to the number of computations.
"""

from __future__ import annotations

from ..loops.turns import forward, turns
from ..plan import Plan
from ..program import Program
from ..residency import Compute, Drop, Step


def binomial(program: Program, budget: float) -> Plan | None:
    """Return the optimal plan of a unit chain, or None for any other program and for a budget below three values."""
    count = program.forward
    if not is_unit_chain(program):
        return None
    room = min(int((budget - program.held_bytes) // max(program.sizes[0], 1)), count + 2)
    if room < 3:
        return None
    walk = _Walk(count)
    made = forward(count, room - 2)
    walk.advance(0, (*made.holds[1:], made.first, count))
    walk.step_back(count - 1)
    for start, holds, first, _ in turns(made.holds, made.first, room - 2):
        if first > start:
            walk.advance(start, (*holds, first))
        walk.step_back(first)
    return Plan(program, tuple(walk.steps), "binomial", int(budget))


def is_unit_chain(program: Program) -> bool:
    """Tell whether a program is a chain of equal steps: value i from value i - 1, and in reverse the cotangent of each
    step from the one after it and from the step's input; the first cotangent may read the last value too."""
    count, sizes, inputs = program.forward, program.sizes, program.inputs
    last = 2 * count - 1
    return (
        count > 0
        and len(program) == 2 * count
        and program.outputs == (last,)
        and min(sizes) == max(sizes)
        and min(program.costs[:count]) == max(program.costs[:count])
        and not any(program.workspaces)
        and max(program.overwrites) < 0
        and not inputs[0]
        and all(inputs[v] == (v - 1,) for v in range(1, count))
        and set(inputs[count]) <= {count - 1, count - 2} - {-1}
        and all(w - 1 in inputs[w] and set(inputs[w]) <= {w - 1, last - w - 1} for w in range(count + 1, last))
        and (count == 1 or inputs[last] == (last - 1,))
    )


class _Walk:
    """The steps of a plan as it is written. State i is the value before step i, which is value i - 1; state 0 is the input.

    The same few objects stand in the plan again and again: in long chains, making each anew would take most of the time.
    """

    def __init__(self, count: int) -> None:
        self.steps: list[Step] = []
        self._count = count
        self._compute = [Compute(v) for v in range(2 * count)]
        self._drop = [Drop(v) for v in range(2 * count)]
        self._onward: list[Step] = []  # compute v, drop v - 1
        for v in range(count):
            self._onward += (self._compute[v], self._drop[v - 1])

    def advance(self, start: int, states: tuple[int, ...]) -> None:
        """Compute from state `start` through `states`, dropping all on the way but these."""
        for end in states:
            if end > start:
                self.steps.append(self._compute[start])
                if end > start + 1:
                    self.steps += self._onward[2 * start + 2 : 2 * end]
            start = end

    def step_back(self, step: int) -> None:
        """Compute the cotangent of a step's input, and drop what is needed no more."""
        cotangent = 2 * self._count - 1 - step
        last = self._count - 1 if step == self._count - 1 else cotangent - 1
        self.steps += (self._compute[cotangent], self._drop[last])
        if step:
            self.steps.append(self._drop[step - 1])
