"""What the workers of a host hold, in one number, and the budget that is left for each."""

import numpy as np
import pytest
from test_sharding import crew, init, job, together

from retape.cluster import TrainConfig, adamw, sgd
from retape.cluster import host as hosts
from retape.cluster import snapshot as snapshots
from retape.cluster.data import as_source
from retape.cluster.errors import ConfigError
from retape.cluster.host import automatic, fair_budget, held, shortage
from retape.cluster.job import Ready
from retape.cluster.processes import own_process
from retape.cluster.tables import Tables
from retape.cluster.training import Training


def config(workers, **settings):
    return TrainConfig(**{"steps": 1, "global_batch": 8, "workers": workers, "shards": 4, "ahead_bytes": 0, **settings})


def replica():
    return init(0), adamw().init(init(0))


DATA = as_source(np.zeros((50, 1000)))
FREE_BYTES = 10**9


@pytest.fixture
def free(monkeypatch):
    """Lets this machine have ``FREE_BYTES`` free."""
    monkeypatch.setattr(hosts, "automatic_budget", lambda: int(0.9 * FREE_BYTES))
    monkeypatch.setattr(hosts, "available_bytes", lambda: FREE_BYTES)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("is_sharded", [False, True])
def test_what_the_workers_hold_is_foreseen_as_it_is(tmp_path, monkeypatch, workers, is_sharded):
    made = job(tmp_path, "adamw", steps=1, workers=workers, shard_optimizer=is_sharded, memory_budget=2**22, ahead_bytes=0)
    arenas, run = [], Training.run
    monkeypatch.setattr(Training, "run", lambda training: (arenas.append(training._group.arena), run(training))[1])
    workers_made = crew(workers, made)
    assert {outcome.status for outcome in together(workers_made)} == {"finished"}
    found = held(made.config, *replica())
    assert {arena.total_bytes - arena._control_bytes for arena in arenas} == {found.arena}
    [row] = [row for row in workers_made[0].rows(0) if "loss" in row]
    control, kept = arenas[0]._control_bytes, found.arena + found.params + found.state
    # The snapshot of the first step may or may not be on its way still.
    assert kept < row["host_bytes"] - control <= kept + found.snapshots + workers * row["peak_bytes"]


def test_sharding_the_optimizer_leaves_more_for_the_gradients():
    plain, sharded = (held(config(4, shard_optimizer=choice), *replica()) for choice in (False, True))
    assert sharded.state * 4 == plain.state and sharded.total < plain.total
    assert fair_budget(2**30, sharded, 4) > fair_budget(2**30, plain, 4)


def test_spares_and_data_that_travels_take_their_memory_too():
    plain, more = held(config(2), *replica()), held(config(2), *replica(), data=DATA, spares=2)
    assert more.params == 2 * plain.params and more.state == 2 * plain.state and more.processes > plain.processes
    assert 50 * 1000 * 8 <= more.data < 1.01 * 50 * 1000 * 8


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_an_automatic_budget_is_an_equal_share_of_what_is_left(free, workers):
    found = held(config(workers), *replica(), data=DATA)
    budget = automatic(config(workers), init(0), adamw(), DATA)
    assert workers * budget + found.total <= 0.9 * FREE_BYTES < workers * (budget + 1) + found.total


def test_a_table_whose_rows_travel_takes_the_room_of_those_that_a_step_can_use(free):
    params = {"rows": np.zeros((10**5, 8)), "w": np.zeros(8)}
    data, step = as_source(np.zeros((50, 3), np.int64)), config(2)
    tables = Tables.of(lambda params, batch: 0.0, lambda batch: {"rows": batch}, params, data, step)
    whole, narrow = (held(step, params, {}, layout=layout) for layout in (None, tables.layout(params)))
    assert narrow.arena < whole.arena / 100 and narrow.params == whole.params
    assert automatic(step, params, sgd(), data, layout=tables.layout(params)) > automatic(step, params, sgd(), data)


@pytest.mark.parametrize(("before", "is_kept"), [(10**8, True), (4 * 10**8, False)])
def test_a_resumed_run_keeps_its_budget_as_long_as_there_is_room(free, before, is_kept):
    fair = automatic(config(2), init(0), adamw(), DATA)
    assert automatic(config(2), init(0), adamw(), DATA, before=before) == (before if is_kept else fair)


def test_a_host_without_room_for_the_run_is_named_with_its_numbers(free):
    with pytest.raises(ConfigError, match=r"4 workers may use .* they hold .*arena.*params.*state.*shard_optimizer"):
        automatic(config(4), {"w": np.zeros((1000, 10000))}, adamw(), DATA)


def test_a_snapshot_tells_the_budget_it_was_made_with(tmp_path):
    made = job(tmp_path, steps=1, shard_optimizer=False, memory_budget=2**22)
    assert together(crew(1, made))[0].status == "finished"
    file, _ = snapshots.latest(made.snapshot_folder)
    assert snapshots.settings(file)["memory_budget"] == 2**22


@pytest.mark.parametrize(("free_bytes", "fits"), [(3 * 2**30 - 1, "1023.0 MiB"), (2**30, "341.0 MiB"), (3 * 2**30, None)])
def test_a_host_that_is_short_of_memory_is_named_with_the_budget_that_would_fit_it(free_bytes, fits):
    ready = Ready(own_process(), "node", "10.0.0.7", {}, step=0, shards=4, free_bytes=free_bytes)
    said = shortage([ready] * 3, 2**30)
    assert said is None if fits is None else f"a budget of at most {fits} fits there" in said and "10.0.0.7" in said
