"""The supervisor's decisions: events in, instructions out, without processes."""

import random

import pytest

from retape.cluster.errors import (
    AbortedError,
    DataError,
    DeadlineError,
    MessageError,
    MismatchError,
    NonFiniteLossError,
    WorkerDiedError,
)
from retape.cluster.instructions import (
    CallOff,
    Ended,
    Form,
    HandOver,
    Interrupt,
    Kill,
    Lost,
    NotTaken,
    Prepared,
    Refused,
    Regroup,
    Reload,
    Resize,
    Say,
    Seen,
    Start,
    Stop,
    TookOver,
    Unfit,
)
from retape.cluster.job import Failure, Outcome, Ready
from retape.cluster.processes import Process
from retape.cluster.supervisor import advance, begin


def ready(number, node="a"):
    return Ready(Process(1000 + number, 1), node, "10.0.0.1", {}, 0, 4)


def ended(number, status, step, kind=None, is_whole=True):
    failure = Failure(kind, ("text",), {}, "trace") if kind is not None else None
    return Ended(number, Outcome(0, status, step, failure, is_whole))


def play(state, *events):
    """The last state, and all instructions but what is said."""
    made = []
    for event in events:
        state, more = advance(state, event)
        made += [instruction for instruction in more if not isinstance(instruction, Say)]
    return state, made


def running(count, spares=0, step=10):
    state, _ = begin(count, spares=spares)
    state, _ = play(state, *(Prepared(number, ready(number)) for number in range(count + spares)))
    state, _ = play(state, *(Seen(number, step) for number in range(count)))
    return state


def test_a_run_begins_when_all_workers_are_prepared():
    state, made = begin(2, spares=1)
    assert made == [Start(0), Start(1), Start(2)]
    state, made = play(state, Prepared(1, ready(1)))
    assert made == []
    state, made = play(state, Prepared(0, ready(0)))
    assert made == [Form(1, (0, 1), (2,))]


def test_workers_of_a_node_get_ranks_next_to_one_another():
    state, _ = begin(3)
    state, made = play(state, *(Prepared(number, ready(number, "ab"[number % 2])) for number in range(3)))
    assert made == [Form(1, (0, 2, 1), (2, 1))]


def test_a_spare_takes_the_place_of_a_dead_worker_with_the_newest_survivors_state():
    state, made = play(running(3, spares=1), Lost(1, "killed"))
    assert made == [Kill(1, "killed"), CallOff((0, 2), 1), Start(4)]
    state, made = play(state, ended(0, "aborted", 10), ended(2, "aborted", 11))
    assert made == [HandOver(2, (0, 3))]  # worker 0 had not finished step 11
    state, made = play(state, TookOver(3, 11), TookOver(0, 11))
    assert made == [Form(2, (0, 2, 3), (3,))]


def test_without_a_spare_the_survivors_go_on_until_a_replacement_is_ready():
    state, made = play(running(2), Lost(0, "killed"))
    assert made == [Kill(0, "killed"), CallOff((1,), 1), Start(2)]
    state, made = play(state, ended(1, "aborted", 10))
    assert made == [Form(2, (1,), (1,))]
    state, made = play(state, Prepared(2, ready(2)))
    assert made == [Regroup(1)]
    state, made = play(state, ended(1, "regrouped", 14))
    assert made == [HandOver(1, (2,))]
    state, made = play(state, TookOver(2, 14))
    assert made == [Form(3, (1, 2), (2,))]


def test_when_all_are_lost_the_newest_snapshot_is_loaded():
    state, made = play(running(2), Lost(0, "killed"), Lost(1, "killed"))
    assert made.count(Start(2)) == made.count(Start(3)) == 1
    state, made = play(state, Prepared(2, ready(2)))
    assert made == [Reload(2)]
    state, made = play(state, Prepared(2, ready(2)))
    assert made == [Form(2, (2,), (1,))]
    state, made = play(state, Prepared(3, ready(3)), ended(2, "regrouped", 9))
    assert made == [Regroup(2), HandOver(2, (3,))]


def test_when_the_one_that_was_loaded_dies_another_is_loaded_and_nothing_begins_anew():
    state, _ = play(running(2), Lost(0, "killed"), Lost(1, "killed"), Prepared(2, ready(2)), Prepared(2, ready(2)))
    state, made = play(state, Lost(2, "killed"), Prepared(3, ready(3)))
    assert made == [Kill(2, "killed"), Start(4), Reload(3)]


def test_a_worker_that_was_left_out_is_loaded_before_it_goes_on_alone():
    state, _ = play(running(2, spares=1), Lost(1, "silent"), ended(0, "aborted", 10), TookOver(2, 10), Resize(1))
    state, made = play(state, ended(0, "regrouped", 20), ended(2, "regrouped", 20))
    assert made[-1] == Form(3, (0,), (1,)) and not state.workers[0].is_fresh and state.workers[2].is_fresh
    state, made = play(state, Seen(0, 500), Lost(0, "killed"))
    assert Reload(2) in made


def test_a_worker_caught_in_an_update_gives_its_state_to_nobody():
    state, made = play(running(2), ended(0, "aborted", 10, is_whole=False), ended(1, "aborted", 9))
    assert made == [HandOver(1, (0,))]


def test_a_giver_that_dies_is_replaced_by_the_next():
    state, _ = play(running(3), Lost(2, "killed"), ended(0, "aborted", 11), ended(1, "aborted", 10))
    state, made = play(state, Lost(0, "killed"), NotTaken(1))
    assert [type(instruction) for instruction in made] == [Kill, Start, Reload]


@pytest.mark.parametrize("wanted", [1, 4])
def test_another_number_of_workers_joins_or_leaves_at_a_step(wanted):
    state, made = play(running(2), Resize(wanted))
    if wanted == 1:
        assert made == [Regroup(0)]
    else:
        assert made == [Start(2), Start(3)]
        state, made = play(state, Prepared(2, ready(2)), Prepared(3, ready(3)))
        assert made == [Regroup(0), Regroup(0)]
    state, made = play(state, ended(0, "regrouped", 20), ended(1, "regrouped", 20))
    if wanted == 1:
        assert made == [Kill(1, "fewer workers are wanted"), Form(2, (0,), (1,))]
    else:
        assert made == [HandOver(0, (2, 3))]
        assert play(state, TookOver(2, 20), TookOver(3, 20))[1] == [Form(2, (0, 1, 2, 3), (4,))]


def test_a_stop_goes_to_the_first_rank_also_when_a_formation_is_on_its_way():
    assert play(running(2), Stop())[1] == [Interrupt(0)]
    state, _ = play(running(2), Lost(1, "killed"), Stop())
    assert play(state, ended(0, "aborted", 10))[1] == [Form(2, (0,), (1,)), Interrupt(0)]


def test_a_run_is_over_when_one_has_finished_and_all_have_ended():
    state, _ = play(running(2), ended(0, "finished", 50))
    assert not state.is_over
    state, _ = play(state, Lost(1, "killed"))
    assert state.is_over and state.status == "finished" and state.failure is None


def test_what_a_worker_raises_ends_the_run_with_the_first_cause():
    state, made = play(running(2), ended(1, "failed", 10, NonFiniteLossError))
    assert made == [CallOff((0,), 1)] and not state.is_over
    state, _ = play(state, ended(0, "aborted", 10))
    assert state.is_over and state.failure.kind is NonFiniteLossError
    state, _ = play(begin(1)[0], Refused(0, DataError("gone")))
    assert state.is_over and isinstance(state.failure, DataError)


def test_out_of_memory_makes_microbatches_smaller_once_a_formation():
    state, made = play(running(2), ended(0, "failed", 10, MemoryError), ended(1, "aborted", 10))
    assert made == [Form(2, (0, 1), (2,), shrink=True)]
    state, made = play(state, Lost(0, "killed by its node", is_out_of_memory=True), ended(1, "aborted", 10))
    assert made[-1] == Form(3, (1,), (1,), shrink=True)


def test_losses_without_a_finished_step_end_the_run():
    state = running(2)
    for number in range(1, 20):
        state, made = play(state, Lost(number, "killed"), ended(0, "aborted", 10), Prepared(number + 1, ready(number + 1)))
        if state.failure is not None:
            break
        state, _ = play(state, ended(0, "regrouped", 10), TookOver(number + 1, 10))
    assert isinstance(state.failure, WorkerDiedError) and number == 11


def test_workers_that_are_lost_while_they_start_end_the_run_when_each_has_had_its_tries():
    state = begin(3, spares=1)[0]
    for number in range(100):
        state, _ = play(state, Lost(number, "killed"))
        if state.failure is not None:
            break
    assert isinstance(state.failure, WorkerDiedError) and number == 5 * 4


def test_a_node_that_takes_all_its_workers_and_spares_with_it_is_one_loss():
    state, _ = play(running(3, spares=2), *(Lost(number, "its node is gone") for number in (1, 2, 3, 4)))
    assert state.failure is None and state.failed_formations == 1
    state, made = play(state, ended(0, "aborted", 10))
    assert made == [Form(2, (0,), (1,))]


def test_the_step_of_a_run_is_that_of_the_furthest_worker_also_when_that_is_lost():
    state, _ = play(running(2), Seen(1, 12), Lost(1, "killed"))
    assert state.step == 12 and state.failed_formations == 1


@pytest.mark.parametrize("kind", [DeadlineError, MessageError])
def test_a_formation_that_is_given_up_with_all_its_workers_is_told_of_and_formed_again(kind):
    state, made = advance(running(2), ended(1, "aborted", 10, kind))
    assert made == [Say("worker 0 gave up after step 10: text; all begin again there")]
    state, made = play(state, ended(0, "aborted", 10, AbortedError))
    assert made == [Form(2, (0, 1), (2,))] and state.failed_formations == 1


def test_a_worker_of_other_bits_ends_a_run_that_has_not_begun_and_is_sent_away_from_one_that_has():
    error = MismatchError("NumPy: 2.4 and 2.5")
    state, _ = play(begin(2)[0], Prepared(0, ready(0)), Unfit(1, error))
    assert state.is_over and state.failure is error
    state, made = play(running(2), Lost(1, "killed"), ended(0, "aborted", 10), Unfit(2, error))
    assert made[-2:] == [Form(2, (0,), (1,)), Kill(2, "its bits would differ")] and state.failure is None
    state, made = play(state, Seen(0, 11))
    assert made == [] and len(state.workers) == 1
    state, made = play(state, Lost(0, "killed"))
    assert made == [Kill(0, "killed"), Start(3)]
    assert play(state, Unfit(3, error))[0].failure is error


def test_a_lost_spare_is_no_fault_of_the_step():
    state, _ = play(running(2, spares=1), Lost(1, "killed"), Lost(2, "killed"))
    assert state.failed_formations == 1
    state, _ = play(running(2, spares=1), Lost(1, "killed"), Seen(0, 12), Lost(2, "killed"))
    assert state.failed_formations == 0


def test_late_words_of_a_replaced_worker_are_ignored():
    state, _ = play(running(2), Lost(0, "silent"))
    assert play(state, ended(0, "finished", 99), Seen(0, 99), TookOver(0, 99)) == (state, [])


@pytest.mark.parametrize("seed", range(200))
def test_any_faults_in_any_order_lose_no_step_and_end(seed):
    """Plays a world against the supervisor: workers that really are at a step, and die at any moment."""
    draw = random.Random(seed)
    goal = 30
    state, made = begin(draw.randint(1, 4), spares=draw.randint(0, 2))
    steps, formed, generation, saved = {}, {}, 0, 0
    queue = []

    def advance_world():
        """One step of the current formation, seen by some of its members only when one of them dies meanwhile."""
        nonlocal saved
        members = [number for number, at in formed.items() if at == generation]
        assert len({steps[number] for number in members}) <= 1
        if not members or set(members) != set(current):
            return
        for number in members:
            steps[number] += 1
        if steps[members[0]] % 7 == 0:
            saved = steps[members[0]]
        queue.extend(Seen(number, steps[number]) for number in members)
        if steps[members[0]] >= goal:
            queue.extend(ended(number, "finished", goal) for number in members)
            formed.clear()

    current = ()
    for _ in range(4000):
        for instruction in made:
            match instruction:
                case Start(number):
                    steps[number] = 0
                    queue.append(Prepared(number, ready(number)))
                case Reload(number):
                    if number in steps:
                        steps[number] = saved
                        queue.append(Prepared(number, Ready(Process(1, 1), "a", "h", {}, saved, 4)))
                case Kill(number):
                    steps.pop(number, None)
                    formed.pop(number, None)
                case CallOff(numbers, called):
                    for number in numbers:
                        if formed.get(number, 0) and formed[number] <= called and number in steps:
                            del formed[number]
                            queue.append(ended(number, "aborted", steps[number]))
                case Regroup(number):
                    if set(formed) == set(current):
                        queue.extend(ended(member, "regrouped", steps[member]) for member in formed)
                        formed.clear()
                case HandOver(giver, takers):
                    for taker in takers:
                        if giver in steps and taker in steps:
                            steps[taker] = steps[giver]
                            queue.append(TookOver(taker, steps[taker]))
                        elif taker in steps:
                            queue.append(NotTaken(taker))
                case Form(generation, current):
                    for number in current:
                        if number in steps:
                            formed[number] = generation
                    assert len({steps[number] for number in current if number in steps}) <= 1
                    assert all(steps[number] >= saved for number in current if number in steps)
        if state.is_over:
            break
        action = draw.random()
        if action < 0.03 and steps:
            victim = draw.choice(list(steps))
            del steps[victim]
            formed.pop(victim, None)
            queue.append(Lost(victim, "killed"))
        elif action < 0.4:
            advance_world()
        made = []
        if queue:
            event = queue.pop(draw.randrange(min(3, len(queue))))
            state, made = advance(state, event)
    assert state.is_over, state
    if state.failure is None:
        assert state.status == "finished"
    else:
        assert isinstance(state.failure, WorkerDiedError)
