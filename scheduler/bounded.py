"""Bounded: a function whose values, and whose derivatives inside other transforms, are computed within a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..checkpoint.saved import SavedPlan
from ..runtime import trees
from ..runtime.arguments import is_differentiable_leaf
from ..runtime.array import Array, apply, entered, traced
from ..runtime.batching.examples import Each
from ..runtime.batching.level import Batch
from ..runtime.errors import ChangedError
from ..runtime.forward import Forward
from ..runtime.op import OPS
from ..runtime.python_numbers import value_of
from ..runtime.region import Region, step_back_result
from ..runtime.streams import Journal
from ..runtime.tape import Tape
from ..runtime.trail import Trail
from ..runtime.transforms import jvp, pulled_back
from ..runtime.watch import Watch
from .options import Options
from .programs import Programs
from .report import Report
from .run import Request


class Evaluation:
    """A function, derivatives that it takes inside included, run within a budget on arguments that are not traced.

    What plain NumPy does with the floating-point leaves of its arguments is recorded, planned and counted, as under `grad`.
    """

    def __init__(self, plain: Callable, options: Options, programs: Programs) -> None:
        self.plain = plain
        self.options = options
        self.programs = programs

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return what the function returns."""
        leaves, treedef = trees.flatten((args, keywords))
        moving = [k for k, leaf in enumerate(leaves) if is_differentiable_leaf(leaf)]
        if not moving:
            return self.plain(*args, **keywords)

        def rebuilt(traced: list, others: list) -> Any:
            again = list(others)
            for k, leaf in zip(moving, traced, strict=True):
                again[k] = leaf
            inner_args, inner_keywords = trees.unflatten(treedef, again)
            return self.plain(*inner_args, **inner_keywords)

        others = [None if k in set(moving) else leaf for k, leaf in enumerate(leaves)]
        given = [leaves[k] for k in moving], others
        return self.programs.run(Request(rebuilt, given, {}, 0, self.options, wants="value")).aux


class Bounded:
    """A function within a budget that can be differentiated: its pullback and pushforward are run within the budget too.

    `plain` computes the same without a budget. Of a call only its arguments are held for its derivatives; everything else is
    computed again. Where a transform around it has a budget (or watches it), that one bounds all, and `plain` is run. `run`
    computes the values where there is a better way than recording `plain`.
    """

    def __init__(
        self, plain: Callable, options: Options, run: Callable | None = None, programs: Programs | None = None
    ) -> None:
        functools.update_wrapper(self, plain, updated=())
        self.plain = plain
        self._programs = programs or Programs()
        self._run = run or Evaluation(plain, options, self._programs)
        # A loaded plan is one of the values' program.
        self._options = replace(options, planner="best") if isinstance(options.planner, SavedPlan) else options
        self._derived: dict[Any, Bounded] = {}

    @property
    def report(self) -> Report | None:
        """What was allowed, projected and measured of the last call."""
        return self._programs.report

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return what the function returns, with derivatives by traced arguments."""
        leaves, treedef = trees.flatten((args, keywords))
        leaves = [entered(leaf) for leaf in leaves]
        level = max((leaf._level for leaf in leaves if type(leaf) is Array), key=lambda level: level.level, default=None)
        if level is None:
            return self._run(*args, **keywords)
        level.require_open()
        if any(_is_bounded(leaf) for leaf in leaves):
            return self.plain(*args, **keywords)
        if isinstance(level, Batch):
            return Each(self)(*args, **keywords)  # the budget is that of one example
        if isinstance(level, Region):
            return level.call(lambda *inner: self._of(list(inner), treedef), leaves)
        mine = [type(leaf) is Array and leaf._level is level for leaf in leaves]
        active = tuple(k for k, is_mine in enumerate(mine) if is_mine and leaves[k]._slot is not None)
        values = [value_of(leaf) if is_mine else leaf for leaf, is_mine in zip(leaves, mine, strict=True)]
        if isinstance(level, Forward):
            return self._on_forward(level, values, [leaves[k]._slot for k in active], treedef, active)
        assert isinstance(level, Trail)
        return self._on_trail(level, values, [leaves[k]._slot for k in active], treedef, active)

    def _on_forward(self, level: Forward, values: list, tangents: list, treedef: Any, active: tuple[int, ...]) -> Any:
        if not active:
            return self._of(values, treedef)

        def pushed(leaves: list, directions: list) -> tuple:
            f = self._partial(leaves, treedef, [(k,) for k in active])
            return jvp(f, [leaves[k] for k in active], directions)

        output, tangent = self._derivative(("push", treedef, active), pushed)(values, tangents)
        outputs, out_tree = trees.flatten(output)
        pushed_leaves = trees.flatten(tangent)[0]
        results = [
            traced(level, t, y) if is_differentiable_leaf(y) else y for y, t in zip(outputs, pushed_leaves, strict=True)
        ]
        return trees.unflatten(out_tree, results)

    def _on_trail(self, trail: Trail, values: list, slots: list[int], treedef: Any, active: tuple[int, ...]) -> Any:
        if not active:
            return self._of(values, treedef)
        groups: dict[int, list[int]] = {}  # leaves that are one array get one cotangent
        for k, slot in zip(active, slots, strict=True):
            groups.setdefault(slot, []).append(k)
        output, pull = self.with_pull(values, treedef, tuple(map(tuple, groups.values())))
        outputs, out_tree = trees.flatten(output)
        call = trail.add(_step_back, (list(groups), pull, len(outputs)), None)._slot
        results = [
            trail.add(step_back_result, (call, k), y) if is_differentiable_leaf(y) else y for k, y in enumerate(outputs)
        ]
        return trees.unflatten(out_tree, results)

    def with_pull(self, values: list, treedef: Any, wanted: tuple[tuple[int, ...], ...]) -> tuple[Any, Callable]:
        """Return the output at the leaves `values`, and ``pull(cotangents, so_far)``: the cotangents of the `wanted` leaves.

        Each of `wanted` names the leaves that stand for one array. The cotangents are those of the output's leaves, None
        where there is none; `so_far` are those of the wanted arrays that have come from elsewhere, or None: the shares are
        added to them in the order in which they would be if every op had been recorded. Of pull, raises `ChangedError` where
        the function returns something else when it is run again.
        """
        journal = Journal()
        with journal:
            output = self._of(values, treedef)
        before = _checksums(output)

        def pulled(leaves: list, cotangents: list, so_far: list) -> tuple[tuple, list]:
            chosen = [leaves[group[0]] for group in wanted]
            f = self._partial(leaves, treedef, wanted)
            moved = [k for k, g in enumerate(cotangents) if g is not None]
            begun = [k for k, g in enumerate(so_far) if g is not None]
            found: list = []

            def ends(*given: Any) -> list:
                made = f(*given)
                found.append(_checksums(made))
                outputs = trees.flatten(made)[0]
                return [outputs[k] for k in moved] + [given[k] for k in begun]

            pull = pulled_back(ends, *chosen)[1]
            return pull([cotangents[k] for k in moved] + [so_far[k] for k in begun]), found[0]

        within = self._derivative(("pull", treedef, wanted), pulled)

        def pull(cotangents: list, so_far: list) -> tuple:
            with journal:
                shares, after = within(values, cotangents, so_far)
            for was, is_now in zip(before, after, strict=True):
                if type(was) is not Array and type(is_now) is not Array and was != is_now:
                    raise ChangedError(
                        "a pullback within a memory_budget runs its function again, and the function returned something "
                        "else than the first time: an argument or an array that it reads was written to, or it reads a "
                        "clock, a file or a global random generator. Write to copies, pass in what is read, draw with "
                        "retape.random"
                    )
            return shares

        return output, pull

    def _of(self, leaves: list, treedef: Any) -> Any:
        args, keywords = trees.unflatten(treedef, leaves)
        return self(*args, **keywords)

    def _partial(self, leaves: list, treedef: Any, chosen: Sequence[tuple[int, ...]]) -> Callable:
        """Return the plain function of the `chosen` ones of its leaves, each of which may stand in several places."""

        def f(*given: Any) -> Any:
            filled = list(leaves)
            for group, leaf in zip(chosen, given, strict=True):
                for k in group:
                    filled[k] = leaf
            args, keywords = trees.unflatten(treedef, filled)
            return self.plain(*args, **keywords)

        return f

    def _derivative(self, key: Any, plain: Callable) -> Bounded:
        if key not in self._derived:
            self._derived[key] = Bounded(plain, self._options)
        return self._derived[key]


def _step_back(cotangents: dict[int, Any], sums: dict, data: tuple, *_: Any) -> None:
    slots, pull, count = data
    shares = pull([cotangents.get(k) for k in range(count)], [sums.pop(slot, None) for slot in slots])
    sums.update(zip(slots, shares, strict=True))


def _checksums(output: Any) -> list:
    """Return a checksum for every array of numbers in an output, found where the array is."""
    leaves = trees.flatten(output)[0]
    return [apply(OPS["checksum"], (leaf,)) for leaf in leaves if is_differentiable_leaf(leaf)]


def _is_bounded(leaf: Any) -> bool:
    """Tell whether a transform that a leaf is traced by, at any level, has all values in its own keeping."""
    while type(leaf) is Array:
        if isinstance(leaf._level, (Tape, Watch)):
            return True
        leaf = leaf._value
    return False
