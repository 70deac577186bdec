"""Schedules of loops, run by a fake executor made of asserts, against closed forms, exact tables and published counts."""

from functools import cache

import pytest

from retape.checkpoint.loops.binomial import capacity, forward_steps, repetitions
from retape.checkpoint.loops.disk import (
    LONGEST_EXACT,
    Prices,
    forward_with_disk,
    reads_from_disk,
    time_with_disk,
    turns_with_disk,
)
from retape.checkpoint.loops.mixed import best_split, least_runs
from retape.checkpoint.loops.online import OnlineCheckpoints
from retape.checkpoint.loops.turns import Forward, forward, turns

LENGTHS = [1, 2, 3, 4, 5, 9, 17, 60, 100]
SLOTS = [1, 2, 3, 5, 10, 30]


def executed(steps: int, slots: int, made: Forward, tape_slots: int = 0, split=None) -> int:
    """Return the step runs of a whole schedule; every state that is read is there, and no slot too many is taken."""
    runs, held, stop = steps, set(made.holds), made.first
    if made.first:
        assert len(held) + tape_slots * (steps - made.first - 1) <= slots
    for turn in turns(made.holds, made.first, slots, tape_slots=tape_slots, split=split):
        assert turn.stop == stop > turn.first >= turn.start and turn.start in held
        runs += turn.stop - turn.start
        held |= set(turn.holds)
        assert len(held) <= slots and all(turn.start < state < turn.first + 1 for state in turn.holds)
        held = {state for state in held if state < turn.first}
        assert len(held) + tape_slots * (turn.stop - turn.first - 1) <= slots
        stop = turn.first
    assert stop == 0
    return runs


@cache
def by_search(steps: int, slots: int) -> float:
    """Return the least step runs by trying every place of the next held state."""
    if steps <= 1:
        return steps
    if slots == 0:
        return float("inf")
    return min(k + by_search(k, slots) + by_search(steps - k, slots - 1) for k in range(1, steps))


@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("steps", LENGTHS)
def test_a_loop_of_known_length_runs_as_many_steps_as_the_closed_form_says(steps, slots):
    assert executed(steps, slots, forward(steps, slots)) == forward_steps(steps, slots) == by_search(steps, slots)


@pytest.mark.parametrize(
    ("steps", "slots", "revolve", "mixed"),
    [
        (10, 3, 25, 19), (100, 3, 590, 554), (100, 10, 322, 237), (250, 25, 723, 486), (1000, 3, 13155, 12986),
        (1000, 5, 7284, 6828), (1000, 10, 4636, 3921), (1000, 20, 3747, 2823), (1000, 40, 3097, 2142),
    ],
)  # fmt: skip
def test_published_counts_are_met(steps, slots, revolve, mixed):
    assert executed(steps, slots, forward(steps, slots)) == revolve
    split = best_split(steps, slots, 1)
    assert executed(steps, slots, forward(steps, slots, tape_slots=1, split=split), 1, split) == mixed


def test_a_million_steps_are_scheduled_without_a_table():
    made = forward(10**6, 20)
    runs = 10**6
    for turn in turns(made.holds, made.first, 20):
        runs += turn.stop - turn.start
    assert runs == forward_steps(10**6, 20)


@pytest.mark.parametrize("tape_slots", [1, 2, 3, 7])
@pytest.mark.parametrize("slots", SLOTS)
def test_holding_tapes_is_exact_for_short_loops_and_near_it_for_long_ones(slots, tape_slots):
    for steps in LENGTHS:
        least = int(least_runs(steps, slots, tape_slots)[0][slots, steps])
        split = best_split(steps, slots, tape_slots)
        made = forward(steps, slots, tape_slots=tape_slots, split=split)
        assert executed(steps, slots, made, tape_slots, split) == least <= forward_steps(steps, slots)
        near = executed(steps, slots, forward(steps, slots, tape_slots=tape_slots), tape_slots)
        assert least <= near <= 1.12 * least


@pytest.mark.parametrize("tape_slots", [0, 1, 2, 5])
def test_the_capacity_is_the_longest_loop_without_more_repetitions(tape_slots):
    for slots in (2, 3, 6):
        for runs in (1, 2, 3):
            longest = capacity(slots, runs, tape_slots)
            assert repetitions(longest, slots, tape_slots) == runs < repetitions(longest + 1, slots, tape_slots)
            if runs > 1:
                assert longest == capacity(slots, runs - 1, tape_slots) + capacity(slots - 1, runs, tape_slots)


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 10, 20])
def test_without_the_length_the_runs_are_optimal_at_first_and_near_it_later(slots):
    online = OnlineCheckpoints(slots)
    patterned = (slots + 1) * (slots + 2) // 2
    worst = 1.0
    for steps in range(1, 2500 if slots > 1 else 60):
        # The last step is taped in the forward sweep, so its state is not asked about.
        if steps > 2:
            before = set(online.held)
            released = online.visit(steps - 2)
            assert set(online.held) == (before | {steps - 2}) - {released}
            assert len(online.held) <= slots and online.held[0] == 0
        if steps <= patterned or steps % 61 == 0:
            runs = executed(steps, slots, Forward(tuple(online.held), steps - 1))
            worst = max(worst, runs / forward_steps(steps, slots))
            assert steps > patterned or runs == forward_steps(steps, slots)
    assert worst <= 1.11 if slots == 2 else worst <= 1.06


@pytest.mark.parametrize(
    ("steps", "slots", "seconds"), [(50, 3, 225), (100, 3, 463), (100, 5, 433), (250, 5, 1108), (1, 1, 2), (3000, 3, None)]
)
def test_states_on_disk_give_the_published_times(steps, slots, seconds):
    prices = Prices(write=2, read=2)
    made = forward_with_disk(steps, slots, prices)
    memory, disk, stop = set(made.holds), set(made.writes), made.first
    time = steps + prices.write * len(disk)
    reads = []
    for turn in turns_with_disk(made, steps, slots, prices):
        assert turn.stop == stop and turn.start in memory | disk
        reads += [] if turn.start in memory else [turn.start]
        time += turn.stop - turn.start
        memory |= set(turn.holds)
        assert len(memory) <= slots
        memory, disk = {m for m in memory if m < turn.first}, {d for d in disk if d < turn.first}
        stop = turn.first
    assert stop == 0 and memory | disk <= {0}
    assert reads == list(reads_from_disk(made, steps, slots, prices))
    time += prices.read * len(reads)
    assert time == time_with_disk(steps, slots, prices)
    if seconds is not None:
        assert time + steps == seconds  # the published times count one unit for each step's reverse too
    else:
        assert steps > LONGEST_EXACT
        assert time / steps <= 1.01 * time_with_disk(LONGEST_EXACT, slots, prices) / LONGEST_EXACT


@pytest.mark.parametrize("make", [lambda: forward(5, 0), lambda: OnlineCheckpoints(0), lambda: repetitions(3, 0, 0)])
def test_a_loop_without_a_slot_is_refused(make):
    with pytest.raises(ValueError, match="slot"):
        make()
