"""Records a loop as one call of a tape under a budget: first an outline of it, then the call and its results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...checkpoint.loops.share import LoopCosts, Rung, Share
from ...checkpoint.planners import PLANNERS, small_plan
from ...runtime import trees
from ...runtime.errors import NeedsValueError
from ...runtime.loops.body import Body, Form
from ...runtime.loops.on_tape import LOOP
from ...runtime.tape import Tape
from ..follower import Follower
from ..keeper import OnlineKeeper
from ..lowering import LEAST_SPILLED
from .head import Head, cotangents_of
from .outline import Outline
from .parts import BlockProgram, Forward, Outgrown, ResultsChanged, Unforeseen
from .states import Files

# Loops of so few calls are recorded step by step: who plans them sees all of them then, and may keep their tapes. The budget
# has no say in this, so that the smallest budget is the same whoever asks.
FEW_CALLS = 1500
_MOST_CALLS_OF_A_BLOCK = 1000
_MOST_STEPS = 64
_SMALL_TAPE = 256 * 1024
_GUESSED_LENGTH = 1000
LEAST_BLOCK = 64 * 1024  # bytes: where arrays are small, a path that needs some more of them fits too


class Loops:
    """Records the loops of one call under `budget` bytes, which may write states into `files`.

    Loops inside of others never do: their states live as long as a block of steps.
    """

    def __init__(self, budget: float, files: Files | None = None) -> None:
        self.budget = budget
        self.files = files

    @property
    def spilled_bytes(self) -> int:
        """Bytes of states that loops have written to disk so far."""
        return 0 if self.files is None else self.files.written_bytes

    def record(self, tape: Tape, body: Body, form: Form, leaves: list) -> tuple[Any, Any] | None:
        """Return the last carry and the stacked outputs of a loop; None where it is to be recorded step by step."""
        head = Head(tape, body, form, leaves)
        outline = self._expected(tape, head)
        closures: tuple[int, ...] = ()
        journals: dict = {}
        widened: set[int] = set()
        factor = 1.0
        while True:
            if outline is None:
                outline = self._outline(head, closures, factor)
                if outline is None:
                    return None
                for number in widened:
                    outline.results[number] = replace(outline.results[number], is_active=True, is_plain=False)
            try:
                return head.recorded(outline, self.files, Loops(self.budget), journals)
            except Unforeseen as error:
                if error.array._level is not tape:
                    raise
                closures = (*outline.closures, error.array._slot)
            except ResultsChanged as error:
                closures = outline.closures
                widened.update(error.numbers)
            except Outgrown as error:
                closures = outline.closures
                factor *= max(error.factor, 1.25)
                if outline.costs.rungs[0].forward_bytes > self.budget:
                    raise error.cause from None
            outline = None

    def _expected(self, tape: Tape, head: Head) -> Outline | None:
        """Return the outline of the loop that a known program has here, if it is this one."""
        keeper = tape.keeper
        if not isinstance(keeper, Follower) or keeper.is_at_end:
            return None
        op, slots, *_ = keeper.known.script[keeper.cursor]
        outline = tape.phantoms[slots[0]] if op is LOOP else None
        return outline if outline is not None and outline.signature == head.signature() else None

    def _outline(self, head: Head, closures: tuple[int, ...], factor: float) -> Outline | None:
        """Return what is known of a loop; its blocks get `factor` times the bytes that it says they need."""
        try:
            return self._outline_by_shapes(head, closures, factor)
        except NeedsValueError:
            keeper = head.tape.keeper
            if isinstance(keeper, Follower):
                keeper = keeper.leave()
            if not isinstance(keeper, OnlineKeeper):
                raise
            return self._outline_by_trial(head, closures, factor, keeper)

    def _outline_by_shapes(self, head: Head, closures: tuple[int, ...], factor: float) -> Outline | None:
        length = _GUESSED_LENGTH if head.body.length is None else head.body.length
        inner = Loops(self.budget)
        blocks, state, begin = head.blocks(closures, inner), head.start(), 0
        while True:
            program, made = blocks.known(begin, 1, state, None)
            found = tuple(slot for slot in made.used if slot not in blocks.values)
            if found:
                closures += found
                blocks, state, begin = head.blocks(closures, inner), head.start(), 0
                continue
            if begin + 1 == length or begin and made.state.kinds == state.kinds:
                break
            state, begin = made.state, begin + 1
        if head.body.length is not None and made.calls * length <= FEW_CALLS:
            return None
        joint, _ = blocks.known(begin, 1, state, cotangents_of(made, closures, head))
        reverse = _Measured(joint)
        forward = _Measured(program)
        rungs = [_rung(1, forward, reverse, factor)]
        least = _Measured(joint, is_least=True)
        if least.peak < reverse.peak:
            tight = _Measured(program, is_least=True)
            rungs.insert(0, _rung(1, tight, least, factor))
        steps = 2
        while head.body.length is not None and steps <= min(_MOST_STEPS, length - 1):
            if made.calls * steps > _MOST_CALLS_OF_A_BLOCK:
                break
            program, many = blocks.known(1, steps, state, None)
            joint, _ = blocks.known(1, steps, state, cotangents_of(many, closures, head))
            forward, reverse = _Measured(program), _Measured(joint)
            if reverse.peak > self.budget:
                break
            rungs.append(_rung(steps, forward, reverse, factor))
            steps *= 2
        return self._made(head, closures, made, length, tuple(rungs), blocks.programs)

    def _outline_by_trial(self, head: Head, closures: tuple[int, ...], factor: float, keeper: OnlineKeeper) -> Outline:
        """Run the first step for what shapes do not tell."""
        while True:
            blocks = head.blocks(closures, Loops(self.budget))
            state = head.take(blocks, keeper)
            try:
                room = keeper.budget - keeper.residency.live
                joint, made = blocks.trial(state, lambda made, c=closures: cotangents_of(made, c, head), room)
                break
            except Unforeseen as error:
                if error.array._level is not head.tape:
                    raise
                closures += (error.array._slot,)
            finally:
                blocks.values, blocks.xs = {}, ()
                del state
        keeper.executor.ledger.peak = max(keeper.executor.ledger.peak, keeper.executor.ledger.live + blocks.ledger.peak)
        keeper.residency.peak = max(keeper.residency.peak, keeper.executor.ledger.peak)
        length = head.body.length
        one = _Measured(joint)
        steps = 1 if length is None else max(min(_SMALL_TAPE // max(one.peak, 1), _MOST_STEPS, length - 1), 1)
        most = int(max(steps * one.peak, LEAST_BLOCK) * factor)
        rung = Rung(steps, most, steps * one.seconds / 3, most, steps * one.seconds)
        return self._made(head, closures, made, length or _GUESSED_LENGTH, (rung,), {})

    def _made(
        self,
        head: Head,
        closures: tuple[int, ...],
        made: Forward,
        length: int,
        rungs: tuple[Rung, ...],
        programs: dict,
    ) -> Outline:
        results, state_bytes = head.results(made)
        slots = dict.fromkeys(slot for slot in (*head.starts, *head.xs, *closures) if slot is not None)
        tape = head.tape
        gradient_bytes = sum(tape.phantoms[slot].nbytes for slot in slots if tape.active[slot])
        costs = LoopCosts(
            length,
            state_bytes,
            sum(result.nbytes for result in results if not result.is_plain),
            gradient_bytes,
            rungs,
            self.files.disk() if self.files is not None and state_bytes >= LEAST_SPILLED else None,
            is_open=head.body.length is None,
        )
        keeper = tape.keeper
        room = keeper.budget - keeper.residency.live - costs.gradient_bytes if isinstance(keeper, OnlineKeeper) else 0
        share: Share = costs.cheapest(0.9 * room)
        tree = made.outputs[0][1] if made.outputs else trees.flatten(None)[1]
        return Outline(head.signature(), costs, share, closures, results, tree, programs)


class _Measured:
    """What a block's program takes: its peak with everything kept, or nearly the least, and the seconds of that."""

    def __init__(self, block: BlockProgram, *, is_least: bool = False) -> None:
        program = block.known.program
        if is_least:
            plan = small_plan(program)
        else:
            plan = PLANNERS["keep_all"](program, float("inf"))
            assert plan is not None
        self.peak = plan.projected_peak_bytes
        self.seconds = plan.work_seconds


def _rung(steps: int, forward: _Measured, reverse: _Measured, factor: float) -> Rung:
    most = [int(max(measured.peak, LEAST_BLOCK) * factor) for measured in (forward, reverse)]
    return Rung(steps, most[0], forward.seconds, most[1], reverse.seconds)
