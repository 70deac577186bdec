"""The watch: a level below all others, through which every op of a program passes to be seen, whatever transform runs it."""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Any, NamedTuple

from . import forward, levels, region
from .array import Array, traced
from .levels import Level
from .lines import Line, is_own
from .op import Op
from .region import Region
from .trail import Trail, constant


class Site(NamedTuple):
    """A call of the program: its op's name and the user's line."""

    op: str
    line: Line | None


class Whereabouts(NamedTuple):
    """What is going on: the sweep ("forward", "tangent", "reverse" or "probe"), whose rule it is, and the user's line.

    In a probe, rules run on numbers that nobody reads.
    """

    sweep: str
    rule_of: Site | None
    line: Line | None


class Watch(Level):
    """A level without derivatives. The transforms that run inside it record on values that are traced here.

    So it sees their forward sweeps and, as rules are written in the same functions, their reverse sweeps too. Nothing
    is asked of the transforms, and nothing is paid where no watch is open.
    """

    __slots__ = ("sites",)

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[tuple[int, int], Site] = {}

    def input(self, value: Any, note: Any = None) -> Array:
        """Return a traced array for a value, with a note that goes where the watch's `run` carries it."""
        return traced(self, note, value)

    def is_active(self, array: Any) -> bool:
        """Tell that no cotangent is lost here: a program may read and branch on what it likes."""
        return False

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Any:
        """Run `op` under the eyes of the watch; results that are not floating-point are plain."""
        self.require_open()
        values = []
        notes = []
        for a in args:
            if type(a) is Array and a._level is self:
                values.append(a._value)
                notes.append(a._slot)
            else:
                values.append(constant(a))
                notes.append(None)
        y, note = self.run(op, values, notes, parameters, gives_up)
        return traced(self, note, y) if getattr(getattr(y, "dtype", None), "kind", "") in ("f", "c") else y

    @abstractmethod
    def run(self, op: Op, values: list, notes: list, parameters: dict | None, gives_up: bool) -> tuple[Any, Any]:
        """Run `op` on plain values; return the output and its note. `notes` has those of the values, None for constants."""

    def places(self) -> list[tuple[int, int]]:
        """Return the places that the running op is about to take in the open transforms: keys of `sites`."""
        found = [level for level in levels._open.get() if level.level > self.level and isinstance(level, (Trail, Region))]
        return [(level.level, len(level.calls)) for level in found]


def is_watched(tree: list) -> bool:
    """Tell whether a list of leaves has traced arrays and all of them are a watch's own."""
    found = [leaf._level for leaf in tree if type(leaf) is Array]
    return bool(found) and all(isinstance(level, Watch) for level in found)


def whereabouts(sites: dict[tuple[int, int], Site]) -> Whereabouts:
    """Return what is going on, read off the stack. (Reading a frame's locals holds them until it ends: no overwriting.)"""
    frame = sys._getframe(1)
    sweep, rule_of = "forward", None
    while frame is not None:
        code, above = frame.f_code, frame.f_back
        if code is _PULL and above is not None and above.f_code is _TRANSPOSED:
            frame = above.f_back
            continue
        if code is _PULL or code is _REPLAY:
            found = frame.f_locals
            key = (found["self"].level, found["place"]) if code is _PULL else (found["region"].level, len(found["made"]))
            site = sites.get(key)
            line = site.line if site else None
            if sweep == "forward":
                return Whereabouts("reverse", site, line)
            return Whereabouts(sweep, Site(rule_of, line) if rule_of else None, line)
        if code is _TRANSPOSED:
            sweep = "probe"
        elif code is _PUSH and sweep == "forward":
            sweep, rule_of = "tangent", frame.f_locals["op"].name
        elif not is_own(frame):
            line = (code, frame.f_lineno)
            return Whereabouts(sweep, Site(rule_of, line) if rule_of else None, line)
        frame = above
    return Whereabouts(sweep, Site(rule_of, None) if rule_of else None, None)


_PULL = Trail.pull.__code__
_REPLAY = region._step_back.__code__
_PUSH = forward.push.__code__
_TRANSPOSED = forward._transposed.__code__
