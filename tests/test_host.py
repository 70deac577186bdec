"""What the workers of a host hold, in one number, and the budget that is left for each."""

import numpy as np
import pytest
from test_sharding import crew, init, job, together

from retape.cluster import TrainConfig, adamw
from retape.cluster import host as hosts
from retape.cluster.errors import ConfigError
from retape.cluster.host import automatic, fair_budget, held
from retape.runtime.trees import flatten


def config(workers, **settings):
    return TrainConfig(**{"steps": 1, "global_batch": 8, "workers": workers, "shards": 4, "ahead_bytes": 0, **settings})


def leaves():
    return flatten(init(0))[0], flatten(adamw().init(init(0)))[0]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("is_sharded", [False, True])
def test_the_arena_is_foreseen_as_it_is(tmp_path, workers, is_sharded):
    made = job(tmp_path, "adamw", steps=1, workers=workers, shard_optimizer=is_sharded, memory_budget=2**22)
    arenas = []
    workers_made = crew(workers, made)
    for worker in workers_made:
        train = worker._train
        worker._train = lambda group, gradients, train=train: (arenas.append(group.arena), train(group, gradients))[1]
    assert {outcome.status for outcome in together(workers_made)} == {"finished"}
    found = held(made.config, *leaves())
    assert {arena.total_bytes - arena._control_bytes for arena in arenas} == {found.arena}
    [row] = [row for row in workers_made[0].rows(0) if "loss" in row]
    without = found.arena + found.params + found.state + workers * row["peak_bytes"]
    assert 0.6 * without <= row["host_bytes"] <= without + arenas[0]._control_bytes + found.snapshots


def test_sharding_the_optimizer_leaves_more_for_the_gradients():
    plain, sharded = (held(config(4, shard_optimizer=choice), *leaves()) for choice in (False, True))
    assert sharded.state * 4 == plain.state and sharded.total < plain.total
    assert fair_budget(2**30, sharded, 4) > fair_budget(2**30, plain, 4)


def test_an_automatic_budget_is_an_equal_share_of_what_is_left(monkeypatch):
    monkeypatch.setattr(hosts, "automatic_budget", lambda workers: 10**9)
    for workers in (1, 3, 4):
        found = held(config(workers), *leaves())
        budget = automatic(config(workers), init(0), adamw())
        assert workers * budget + found.total <= 10**9 < workers * (budget + 1) + found.total


def test_a_host_without_room_for_the_run_is_named_with_its_numbers(monkeypatch):
    monkeypatch.setattr(hosts, "automatic_budget", lambda workers: 10**5)
    with pytest.raises(ConfigError, match=r"4 workers may use .* they hold .*arena.*params.*state.*shard_optimizer"):
        automatic(config(4), {"w": np.zeros((100, 1000))}, adamw())
