"""The program that planners see: values with bytes, costs and dependencies; no arrays, ops or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .loops.share import LoopCosts, Share


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of a program: the value of its results and states, that of its cotangents (-1 for none), and its share."""

    states: int
    reverse: int
    costs: LoopCosts
    share: Share


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole forward-and-reverse program over values numbered in the order in which they are first made.

    A value is one storage: views of it are not values of their own. By value: `sizes` (bytes), `inputs` (the values
    read to make it), `costs` (seconds, estimated), `workspaces` (bytes needed only while it is made), `overwrites`
    (an input whose buffer it may take over, or -1), `labels` (op) and `lines` (the user's ``file:line``).
    The first `forward` values belong to the forward sweep. `outputs` must exist at the end. `held_bytes` is memory
    that the call holds throughout (captured constants). The bytes and costs of the `loops` follow from their shares.
    """

    sizes: list[int] = field(default_factory=list)
    inputs: list[tuple[int, ...]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    workspaces: list[int] = field(default_factory=list)
    overwrites: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    forward: int = 0
    held_bytes: int = 0
    loops: tuple[Loop, ...] = ()

    def __len__(self) -> int:
        return len(self.sizes)

    def add(
        self,
        size: int,
        inputs: tuple[int, ...] = (),
        *,
        cost: float = 1.0,
        workspace: int = 0,
        overwrites: int = -1,
        label: str = "",
        line: str = "",
    ) -> int:
        """Append a value and return its number."""
        self.sizes.append(size)
        self.inputs.append(inputs)
        self.costs.append(cost)
        self.workspaces.append(workspace)
        self.overwrites.append(overwrites)
        self.labels.append(label)
        self.lines.append(line)
        return len(self.sizes) - 1

    def pop(self) -> None:
        """Take back the last value."""
        for column in (self.sizes, self.inputs, self.costs, self.workspaces, self.overwrites, self.labels, self.lines):
            column.pop()

    def until(self, count: int) -> Program:
        """Return a program of the first `count` values, to go on from; without outputs or a reverse sweep."""
        return Program(
            self.sizes[:count],
            self.inputs[:count],
            self.costs[:count],
            self.workspaces[:count],
            self.overwrites[:count],
            self.labels[:count],
            self.lines[:count],
        )

    def with_shares(self, shares: Sequence[Share]) -> Program:
        """Return the program with these shares of its loops."""
        sizes, costs, workspaces = [*self.sizes], [*self.costs], [*self.workspaces]
        loops = []
        for loop, share in zip(self.loops, shares, strict=True):
            loops.append(replace(loop, share=share))
            sizes[loop.states] = loop.costs.states_bytes(share)
            workspaces[loop.states] = loop.costs.forward_workspace(share)
            costs[loop.states] = loop.costs.forward_seconds(share)
            if loop.reverse >= 0:
                workspaces[loop.reverse] = loop.costs.reverse_workspace(share)
                costs[loop.reverse] = loop.costs.reverse_seconds(share)
        return replace(self, sizes=sizes, costs=costs, workspaces=workspaces, loops=tuple(loops))

    def repeated_seconds(self) -> float:
        """Return the seconds of steps that the loops run again, by their shares, in the work of making every value once."""
        return sum(
            loop.costs.forward_seconds(loop.share) + loop.costs.reverse_seconds(loop.share) - loop.costs.least_seconds()
            for loop in self.loops
            if loop.reverse >= 0
        )

    def loops_on_disk_bytes(self) -> int:
        """Return the bytes of states that the loops write to disk, by their shares."""
        return sum(loop.costs.disk_bytes(loop.share) for loop in self.loops)

    def work_seconds(self) -> float:
        """Return the estimated seconds of making every value once."""
        return sum(self.costs)

    def lower_bound_bytes(self) -> int:
        """Return bytes below which no plan exists: the largest single call's need, and the outputs together."""
        bound = sum(self.sizes[v] for v in self.outputs)
        for v, inputs in enumerate(self.inputs):
            saved = self.sizes[self.overwrites[v]] if self.overwrites[v] >= 0 else 0
            need = sum(self.sizes[u] for u in set(inputs)) + self.sizes[v] + self.workspaces[v] - saved
            bound = max(bound, need)
        return bound + self.held_bytes

    def crossing_bytes(self) -> list[int]:
        """Return, for each position in the forward sweep, the bytes of all values live across it in the forward sweep."""
        last_use = list(range(self.forward))
        for v in range(self.forward):
            for u in self.inputs[v]:
                last_use[u] = v
        change = [0] * (self.forward + 1)
        for v in range(self.forward):
            change[v + 1] += self.sizes[v]
            change[min(last_use[v] + 1, self.forward)] -= self.sizes[v] if last_use[v] + 1 <= self.forward else 0
        crossing, live = [], 0
        for position in range(self.forward + 1):
            live += change[position]
            crossing.append(live)
        return crossing

    def cuts(self, count: int) -> list[int]:
        """Return `count` or fewer positions that cut the forward sweep into segments, each at a narrow place.

        Position p lies before value p. Ideal places are equally far apart in bytes made; each moves to the narrowest
        position within half a segment.
        """
        if count <= 0 or self.forward < 2:
            return []
        crossing = self.crossing_bytes()
        made = [0]
        for v in range(self.forward):
            made.append(made[-1] + self.sizes[v])
        total = made[-1]
        if total == 0:
            return []
        places = []
        position = 0
        for k in range(1, count + 1):
            low, high = total * (k - 0.5) / (count + 1), total * (k + 0.5) / (count + 1)
            best = None
            while position < self.forward and made[position] < low:
                position += 1
            scan = position
            while scan < self.forward and made[scan] <= high:
                if scan > 0 and (best is None or crossing[scan] < crossing[best]):
                    best = scan
                scan += 1
            if best is not None and (not places or best > places[-1]):
                places.append(best)
        return places

    def boundaries(self, places: list[int]) -> list[tuple[list[int], float]]:
        """Return, for each cut, the values live across it in the forward sweep and when they are needed last.

        That is the last use of any value of the segment behind the cut: until then it may have to be recomputed.
        """
        last_forward, last = list(range(len(self))), list(range(len(self)))
        for v in range(len(self)):
            for u in self.inputs[v]:
                last[u] = v
                if v < self.forward:
                    last_forward[u] = v
        edges = [*places, self.forward]
        made = []
        for place, end in zip(edges[:-1], edges[1:], strict=True):
            live = [v for v in range(place) if last_forward[v] >= place and self.sizes[v]]
            made.append((live, float(max(last[place:end], default=place))))
        return made
