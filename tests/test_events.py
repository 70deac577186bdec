"""Events of calls under a budget agree with the plan and the report; an error of a subscriber leaves nothing behind."""

import numpy as np
import pytest

import retape as rt
from retape.scheduler.events import Finished, Planned, Stepped

WEIGHTS = [np.random.default_rng(k).standard_normal((30, 30)) for k in range(6)]
BATCH = np.random.default_rng(9).standard_normal((100, 30))


def loss(params, x):
    for weight in params:
        x = np.tanh(x @ weight)
    return np.sum(x * x)


def test_events_tell_of_every_step_of_the_plan_and_of_the_report():
    events, steps = [], []
    step = rt.grad(loss, memory_budget=180_000, subscriber=events.append)
    for _ in range(3):
        events.clear()
        step(WEIGHTS, BATCH)
        steps = [event for event in events if isinstance(event, Stepped)]
        assert [event.done for event in steps] == list(range(1, len(steps) + 1))
        report = step.report
        assert report is not None and max(event.peak_bytes for event in steps) == report.peak_bytes
        assert isinstance(events[-1], Finished) and events[-1].report == report and report.seconds > 0
    planned = rt.plan(loss, WEIGHTS, BATCH, memory_budget=180_000)
    assert [event.live_bytes for event in steps] == [after for _, _, after in planned.memory()]


def test_the_second_call_tells_its_plan_which_is_drawn_with_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    events = []
    step = rt.grad(loss, memory_budget=180_000, subscriber=events.append)
    step(WEIGHTS, BATCH)
    assert not any(isinstance(event, Planned) for event in events)
    events.clear()
    step(WEIGHTS, BATCH)
    assert isinstance(events[0], Planned)
    measured = [event.live_bytes for event in events if isinstance(event, Stepped)]
    events[0].plan.plot(tmp_path / "memory.png", measured=measured)
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_an_error_of_a_subscriber_ends_the_call_and_the_next_one_works():
    is_broken = True

    def subscriber(event):
        if is_broken and isinstance(event, Stepped) and event.done == 20:
            raise KeyboardInterrupt

    step = rt.grad(loss, memory_budget=180_000, subscriber=subscriber)
    with pytest.raises(KeyboardInterrupt):
        step(WEIGHTS, BATCH)
    is_broken = False
    for _ in range(2):
        for a, b in zip(step(WEIGHTS, BATCH), rt.grad(loss)(WEIGHTS, BATCH), strict=True):
            assert a.tobytes() == b.tobytes()
