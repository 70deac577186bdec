"""User lines: which line of whose program a call comes from, read off the stack; and how that is written."""

from __future__ import annotations

import linecache
import os
import sys
from types import CodeType
from typing import Any

_OWN = (__name__.split(".")[0] + ".runtime", __name__.split(".")[0] + ".scheduler", "numpy.", "scipy.", "optree.")

Line = tuple[CodeType, int]

_MOST_PLACES = 16384
_places: dict[tuple[int, int], Line] = {}
_is_own_name: dict[str, bool] = {}


def user_line() -> Line | None:
    """Return the code object and line of the innermost frame outside retape, NumPy and SciPy; one object for each place."""
    frame = sys._getframe(2)
    while frame is not None:
        if not is_own(frame):
            # A frame works its line out by reading a table from the start, so places are looked up by instruction.
            key = id(frame.f_code), frame.f_lasti
            found = _places.get(key)
            if found is None or found[0] is not frame.f_code:
                if len(_places) >= _MOST_PLACES:
                    _places.clear()
                found = _places[key] = frame.f_code, frame.f_lineno
            return found
        frame = frame.f_back
    return None


def is_own(frame: Any) -> bool:
    """Tell whether a frame belongs to retape's floors, to NumPy or to SciPy, and not to the user's program."""
    name = frame.f_globals.get("__name__", "")
    found = _is_own_name.get(name)
    if found is None:
        found = _is_own_name[name] = name.startswith(_OWN)
    return found


def scipy_function() -> str | None:
    """Return the function of SciPy's that the user's line has called, as ``scipy.linalg.expm``; None where it has not."""
    frame, found = sys._getframe(1), None
    while frame is not None and is_own(frame):
        home, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if home.startswith("scipy._lib"):  # a decorator's frame, in which the function is called so
            function = frame.f_locals.get("f")
            home, name = getattr(function, "__module__", home), getattr(function, "__name__", name)
        module = ".".join(home.split(".")[:2])
        if module.startswith("scipy.") and hasattr(sys.modules.get(module), name):
            found = f"{module}.{name}"
        frame = frame.f_back
    return found


def place(line: Line | None) -> str:
    """Return a line as ``train.py:12``, or an empty string."""
    return "" if line is None else f"{os.path.basename(line[0].co_filename)}:{line[1]}"


def definition(function: Any) -> str:
    """Return where a function stands, as `` (train.py:12)``, or an empty string for one that is not written in Python."""
    code = getattr(function, "__code__", None)
    return "" if code is None else f" ({place((code, code.co_firstlineno))})"


def source(line: Line | None) -> str:
    """Return the text of a line, without the blanks around it; an empty string where the file is not there."""
    return "" if line is None else linecache.getline(line[0].co_filename, line[1]).strip()


def quoted(line: Line | None) -> str:
    """Return a line with its text, as ``train.py:12  h = np.tanh(x @ w)``."""
    return f"{place(line)}  {source(line)}".strip()
