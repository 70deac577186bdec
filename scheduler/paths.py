"""The paths that a function was seen to take for arguments of one form, and which of them to expect of the next call.

A program without branches takes one path, which is planned when it comes for the second time. One that branches on what it
computes takes several. After two plans that were left, only a path that came twice is planned: a plan for one that never
comes again would cost more than it brings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .known import Known

PATIENCE = 2


class Paths:
    """What is known of a function for arguments of one form: `known` paths, the latest last.

    `misses` counts the calls that took another path than the one expected.
    """

    def __init__(self) -> None:
        self.known: list[Known] = []
        self.misses = 0
        self._came: dict[Known, int] = {}
        self._next: dict[Known, Known] = {}

    def expected(self) -> Known | None:
        """Return the path to expect: what followed the latest one last time, if worth a plan; else one that has a plan."""
        if not self.known:
            return None
        likely = self._next.get(self.known[-1], self.known[-1])
        if self.misses < PATIENCE or likely.script or self._came[likely] > 1:
            return likely
        return next((path for path in reversed(self.known) if path.script), None)

    def note(self, expected: Known | None, taken: Known | None) -> None:
        """Take note of a call: `taken` is its path as it was recorded, or None where it was the expected one to its end."""
        if taken is None:
            assert expected is not None
            path = expected
        else:
            path = next((path for path in self.known if is_same_path(path, taken)), None)
            if path is not None and path is expected and not path.is_planless:
                # The same calls of other memory, so that the plan did not hold.
                self.forget(path)
                path = None
            if path is not expected and expected is not None:
                self.misses += 1
            path = path or taken
        if self.known:
            self._next[self.known[-1]] = path
        self._came[path] = self._came.get(path, 0) + 1
        if path in self.known:
            self.known.remove(path)
        self.known.append(path)

    def forget(self, path: Known) -> None:
        """Forget a path."""
        self.known.remove(path)
        del self._came[path]
        self._next = {a: b for a, b in self._next.items() if path not in (a, b)}


def is_same_path(first: Known, second: Known) -> bool:
    """Tell whether two programs make the same calls of like constants, and return the same."""
    if first.forward_calls != second.forward_calls or first.ends != second.ends:
        return False
    if not first.tape.calls.begins_like(second.tape.calls, first.forward_calls):
        return False
    constants = (slot for slot in range(first.forward_slots) if first.is_constant[slot])
    return all(_is_like(first.tape.phantoms[slot], second.tape.phantoms[slot]) for slot in constants)


def _is_like(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.strides == b.strides
    # A Python number may be another one; what runs a loop is the same object, or another loop's.
    return type(a) is type(b) and (a is b or isinstance(a, (int, float, complex, np.generic)))
