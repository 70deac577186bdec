"""User lines: which line of whose program a call comes from, read off the stack; and how that is written."""

from __future__ import annotations

import linecache
import os
import sys
from types import CodeType
from typing import Any

_OWN = (__name__.split(".")[0] + ".runtime", __name__.split(".")[0] + ".scheduler", "numpy.", "optree.")

Line = tuple[CodeType, int]


def user_line() -> Line | None:
    """Return the code object and line of the innermost frame outside retape and NumPy."""
    frame = sys._getframe(2)
    while frame is not None:
        if not is_own(frame):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None


def is_own(frame: Any) -> bool:
    """Tell whether a frame belongs to retape's floors or to NumPy, and not to the user's program."""
    return frame.f_globals.get("__name__", "").startswith(_OWN)


def place(line: Line | None) -> str:
    """Return a line as ``train.py:12``, or an empty string."""
    return "" if line is None else f"{os.path.basename(line[0].co_filename)}:{line[1]}"


def source(line: Line | None) -> str:
    """Return the text of a line, without the blanks around it; an empty string where the file is not there."""
    return "" if line is None else linecache.getline(line[0].co_filename, line[1]).strip()


def quoted(line: Line | None) -> str:
    """Return a line with its text, as ``train.py:12  h = np.tanh(x @ w)``."""
    return f"{place(line)}  {source(line)}".strip()
