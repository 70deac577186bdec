"""The memory that a machine or its control groups have left, read from made-up system files."""

import os

import numpy as np
import pytest

import retape as rt
from retape.scheduler.machine import automatic_budget, available_bytes

MIB = 2**20
MEMINFO = f"MemTotal: {16 * 1024**2} kB\nMemFree: 100 kB\nMemAvailable: {8 * 1024**2} kB\n"


def group(folder, limit, use, cached):
    return {
        f"sys/fs/cgroup/{folder}/memory.max": limit,
        f"sys/fs/cgroup/{folder}/memory.current": str(use),
        f"sys/fs/cgroup/{folder}/memory.stat": f"anon 5\ninactive_file {cached}\n",
    }


def old_group(folder, limit, use, cached):
    return {
        f"sys/fs/cgroup/memory/{folder}/memory.limit_in_bytes": str(limit),
        f"sys/fs/cgroup/memory/{folder}/memory.usage_in_bytes": str(use),
        f"sys/fs/cgroup/memory/{folder}/memory.stat": f"total_inactive_file {cached}\n",
    }


SYSTEMS = {
    "no control group": ({}, 8192 * MIB),
    "a group without a limit": ({"proc/self/cgroup": "0::/job", **group("job", "max", MIB, 0)}, 8192 * MIB),
    "a group with a limit": (
        {"proc/self/cgroup": "0::/job", **group("job", str(900 * MIB), 500 * MIB, 100 * MIB)},
        500 * MIB,
    ),
    "a limit further up": (
        {
            "proc/self/cgroup": "0::/pod/job",
            **group("pod/job", str(900 * MIB), 0, 0),
            **group("pod", str(700 * MIB), 400 * MIB, 0),
        },
        300 * MIB,
    ),
    "a container that sees only the root of its hierarchy": (
        {"proc/self/cgroup": "0::/kubepods/pod7/c3", **group(".", str(600 * MIB), 100 * MIB, 0)},
        500 * MIB,
    ),
    "the first version of control groups": (
        {
            "proc/self/cgroup": "4:cpu,memory:/job\n1:name=systemd:/\n0::/",
            **old_group("job", 400 * MIB, 150 * MIB, 50 * MIB),
            **old_group(".", 2**63 - 4096, 9 * MIB, 0),
        },
        300 * MIB,
    ),
    "a group over its limit": ({"proc/self/cgroup": "0::/job", **group("job", str(100 * MIB), 120 * MIB, 0)}, 0),
    "a group whose files cannot be read": (
        {"proc/self/cgroup": "0::/job", **group("job", "nonsense", 0, 0)},
        8192 * MIB,
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_least_of_what_the_machine_and_its_groups_have_left_counts(name, tmp_path):
    files, expected = SYSTEMS[name]
    for path, text in {"proc/meminfo": MEMINFO, **files}.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert available_bytes(root=tmp_path) == expected
    assert automatic_budget(4, root=tmp_path) == int(expected * 0.9) // 4


def test_where_nothing_is_told_the_error_says_to_name_a_size(tmp_path, monkeypatch):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    with pytest.raises(OSError, match="give memory_budget a size"):
        available_bytes(root=tmp_path)


def test_no_workers_share_nothing():
    with pytest.raises(ValueError, match="at least one"):
        automatic_budget(0)


def test_an_automatic_budget_is_what_is_free_and_holds_for_every_way_to_give_one():
    def f(x):
        return np.sum(np.sin(x) ** 2)

    x = np.linspace(0.0, 1.0, 1000)
    free = available_bytes()
    for step in (rt.grad(f, memory_budget="auto"), rt.accumulate(lambda p, b: f(p * b), memory_budget="auto")):
        assert step.options is not None and 0.5 * free < step.options.budget_bytes < 1.5 * free
    step = rt.grad(f, memory_budget="auto")
    assert step(x).tobytes() == rt.grad(f)(x).tobytes()
    assert step.report is not None and step.options is not None and step.report.budget_bytes == step.options.budget_bytes
    assert rt.plan(f, x, memory_budget="auto").extra_work == 0
