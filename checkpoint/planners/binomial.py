"""binomial: the optimal plan of a chain of equal steps, whose reverse reads one value of each step and the next cotangent.

Griewank and Walther 2000, "Algorithm 799: revolve". With room for B values and r the least number such that
C(B - 2 + r, r) >= n, a chain of n steps takes n + 1 + r n - C(B - 2 + r, B - 1) computations, forward and reverse: the
minimum. Planned in closed form, in time proportional to the number of computations.
"""

from __future__ import annotations

from ..loops.turns import forward, turns
from ..plan import Plan
from ..program import Program
from ..steps import Compute, Drop, Step


def binomial(program: Program, budget: float) -> Plan | None:
    """Return the optimal plan of a unit chain, or None for any other program and for a budget below three values."""
    count = program.forward
    length = unit_length(program)
    if not length:
        return None
    room = min(int((budget - program.held_bytes) // max(program.sizes[0], 1)), count + 2)
    if room < 3:
        return None
    walk = _Walk(count)
    made = forward(length, room - 2)
    walk.advance(0, (*made.holds[1:], made.first, length))
    # The first cotangent reads the last value. It may read the one before, too: then it is that of the last step's input.
    is_input = program.inputs[count] == (count - 2, count - 1)
    walk.compute(count, length - 1)
    if not is_input:
        walk.step_back(made.first, count + length - made.first)
    elif made.first:
        walk.steps.append(Drop(made.first - 1))
    for start, holds, first, _ in turns(made.holds, made.first, room - 2):
        if first > start:
            walk.advance(start, (*holds, first))
        walk.step_back(first, count + length - first - is_input)
    return Plan(program, tuple(walk.steps), "binomial", int(budget), is_optimal=True)


def unit_length(program: Program) -> int:
    """Return how many values of the forward sweep the reverse sweep of a unit chain has to do with; 0 for other programs.

    A unit chain has equal sizes and costs, value i is made from value i - 1, and each cotangent from the one after it and
    from its step's output; or from its step's input, and then nobody need read the last value, which is left out.
    """
    count, sizes, inputs = program.forward, program.sizes, program.inputs
    last = 2 * count - 1
    if not (
        count > 1
        and len(program) == 2 * count
        and program.outputs == (last,)
        and min(sizes) == max(sizes)
        and min(program.costs[:count]) == max(program.costs[:count])
        and not any(program.workspaces)
        and max(program.overwrites) < 0
        and not inputs[0]
        and all(inputs[v] == (v - 1,) for v in range(1, count))
    ):
        return 0
    read = [sorted(u for u in inputs[w] if u < count) for w in range(count, last + 1)]
    if any(count + k - 1 not in inputs[count + k] or len(inputs[count + k]) > len(read[k]) + 1 for k in range(1, count)):
        return 0
    if all(values == [count - 1 - k] for k, values in enumerate(read)):
        return count
    if any(values != [count - 2 - k] for k, values in enumerate(read[1:-1], start=1)) or read[-1]:
        return 0
    return {(count - 2, count - 1): count, (count - 2,): count - 1}.get(tuple(read[0]), 0)


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

    def compute(self, value: int, last_read: int) -> None:
        """Compute a value, and drop one."""
        self.steps += (self._compute[value], self._drop[last_read])

    def step_back(self, state: int, cotangent: int) -> None:
        """Compute the cotangent that reads a state, and drop what is needed no more."""
        if cotangent < len(self._compute):
            self.compute(cotangent, cotangent - 1)
        if state:
            self.steps.append(self._drop[state - 1])
