"""What memory this machine, or the control group that the process runs in, still has, and one worker's fair share of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..checkpoint.units import parse_bytes

_MARGIN = 0.1
_UNLIMITED = 2**60  # the first version of control groups writes "no limit" as a number of pages near 2^63

# By version: the limit's file, the use's file, and what of the use are cached file pages that go when asked.
_VERSIONS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def automatic_budget(workers: int = 1, *, root: Path = Path("/")) -> int:
    """Return the bytes that ``memory_budget="auto"`` stands for: an equal share of what is free, less a tenth.

    `workers` is how many processes of this host ask for a share at the same time, before they take it. Raises
    `ValueError` for fewer than one, `OSError` where the system does not tell how much memory is free.

    >>> automatic_budget(workers=2) <= available_bytes()
    True
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: at least one worker shares the memory")
    return int(available_bytes(root=root) * (1 - _MARGIN)) // workers


def budget_bytes(memory_budget: int | float | str) -> int:
    """Return the bytes of a budget as users write it: a number, a text such as ``"512MiB"``, or ``"auto"``.

    Raises `ValueError` and `TypeError` for what cannot be read, `OSError` for ``"auto"`` where the system does not tell.
    """
    return automatic_budget() if memory_budget == "auto" else parse_bytes(memory_budget)


def available_bytes(*, root: Path = Path("/")) -> int:
    """Return the bytes that can be taken without swapping, and without passing the limit of any enclosing control group.

    Raises `OSError` where the system does not tell. `root` is where ``proc`` and ``sys`` are.
    """
    return max(min(_of_machine(root), *_of_groups(root), _UNLIMITED), 0)


def _of_machine(root: Path) -> int:
    try:
        found = _fields(root / "proc/meminfo").get("MemAvailable:")
        if found is not None:
            return found * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        raise OSError(
            "this system does not tell how much memory is free: give memory_budget a size, such as '4GiB'"
        ) from None


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what every control group with a limit, from the process's own up to the root, has left."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = "memory" if "memory" in controllers.split(",") else controllers
        if version not in _VERSIONS:
            continue
        mounted = root / "sys/fs/cgroup" / version
        group = mounted / path.lstrip("/")
        # In a container the path may be the host's, and only the root of the hierarchy is to be seen.
        for folder in (group, *group.parents):
            left = _left(folder, *_VERSIONS[version])
            if left is not None:
                yield left
            if folder == mounted:
                break


def _left(folder: Path, limit_file: str, use_file: str, cache: str) -> int | None:
    try:
        limit = (folder / limit_file).read_text().strip()
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        use = int((folder / use_file).read_text())
        return int(limit) - use + _fields(folder / "memory.stat").get(cache, 0)
    except (OSError, ValueError):
        return None


def _fields(file: Path) -> dict[str, int]:
    return {words[0]: int(words[1]) for line in file.read_text().splitlines() if len(words := line.split()) >= 2}
