"""Measures CPU seconds and resident memory of calls in this process."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_SAMPLE_SECONDS = 0.001


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, of all threads; its result is freed afterwards, uncounted."""
    start = time.process_time()
    result = call()
    seconds = time.process_time() - start
    del result
    return seconds


def least_cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the least CPU seconds of a call over at most five tries, fewer of a long one."""
    tries = [cpu_seconds(call)]
    while len(tries) < 5 and sum(tries) < 0.6:
        tries.append(cpu_seconds(call))
    return min(tries)


def interleaved(calls: dict[str, Callable[[], Any]], *, rounds: int, least_seconds: float = 0.02) -> dict[str, float]:
    """Return the least CPU seconds of one call by name, over rounds in which the calls take turns.

    A round repeats a short call until it has taken `least_seconds`.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, round(least_seconds / max(cpu_seconds(call), 1e-7)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            seconds = cpu_seconds(lambda call=call, n=repeats[name]: [call() for _ in range(n)] and None)
            best[name] = min(best[name], seconds / repeats[name])
    return best


def resident_growth(call: Callable[[], Any]) -> tuple[Any, int, float]:
    """Return a call's result, the growth in bytes of the resident set at its highest, and its CPU seconds.

    The kernel's high-water mark where it can be reset (Linux), else samples from a thread.
    """
    gc.collect()
    _trim()
    if _resettable():
        _CLEAR.write_text(_RESET_PEAK)
        before = _status("VmRSS")
        start = time.process_time()
        result = call()
        seconds = time.process_time() - start
        return result, max(_status("VmHWM") - before, 0), seconds
    return _sampled(call)


def _trim() -> None:
    """Give back what the heap holds free, which would otherwise hide growth."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _resettable() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return "VmHWM" in _STATUS.read_text()


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None
    return int(found[1]) * 1024


def _sampled(call: Callable[[], Any]) -> tuple[Any, int, float]:
    import psutil

    process, done = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.wait(_SAMPLE_SECONDS):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    try:
        result = call()
    finally:
        seconds = time.process_time() - start
        done.set()
        watcher.join()
    return result, max(highest, process.memory_info().rss) - before, seconds
