"""Levels: what a traced array belongs to while one transform runs; nested transforms nest by number."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Self

import numpy as np

from .errors import BatchedValueError, EscapedError, NotDifferentiableError, ThreadError
from .lines import place, scipy_function, user_line
from .op import HOOKS, Op

_numbers = itertools.count(1)
_open: ContextVar[tuple[Level, ...]] = ContextVar("retape_levels", default=())


class Level(ABC):
    """One running transform. Of several levels that meet in a call, the one with the highest number records it.

    `hot` is the thread's identity while a `Trail` is open and 0 otherwise: what its fast recorders look at.
    """

    __slots__ = ("level", "thread", "hot", "closed", "frozen", "_token")
    keeper: Any = None
    inner: Any = None
    is_batch = False
    holds_values = True  # in its arrays; else a keeper does

    def __init__(self) -> None:
        self.level = next(_numbers)
        self.thread = get_ident()
        self.hot = 0
        self.closed = False
        self.frozen: list[np.ndarray] = []

    def __enter__(self) -> Self:
        self._token = _open.set((*_open.get(), self))
        HOOKS["begin"]()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        HOOKS["end"]()
        _open.reset(self._token)
        self.close()
        cause = None if error is None else error.__cause__
        if type(error) is ValueError and isinstance(cause, (NotDifferentiableError, BatchedValueError)):
            # NumPy puts a text of its own over what a traced value has to say of `plain[0] = value`.
            text = f"a plain NumPy array cannot hold a traced value: {cause}"
            raise type(cause)(text).with_traceback(traceback) from None

    @abstractmethod
    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Any:
        """Run `op` on `args`, at least one of which belongs to this level, and note what the transform needs of it.

        With `gives_up`, the caller holds the only use of the array that the op may overwrite (`op.overwrites`).
        """

    @abstractmethod
    def is_active(self, array: Any) -> bool:
        """Tell whether a traced array of this level depends on a differentiated input."""

    def require_open(self) -> None:
        """Raise `EscapedError` when this level's transform has ended, `ThreadError` in another thread than its own."""
        if self.closed:
            raise EscapedError(
                f"a traced array was used after its transform had ended ({place(user_line())}): return it from the function "
                "(or as auxiliary output with has_aux=True) instead of storing it outside"
            )
        if self.thread != get_ident():
            raise ThreadError(
                f"a traced array was used in another thread than the one its transform runs in ({place(user_line())}): take "
                "the gradient inside each thread (retape.grad may run in many at once), or compute in the transform's thread"
            )

    def check_read(self, array: Any, purpose: str) -> None:
        """Raise `NotDifferentiableError` for an array of this level that has a gradient to lose where its value is read.

        `purpose` says in words what for. A branch ("bool") loses none.
        """
        if purpose != "bool" and self.is_active(array):
            cure = (
                "stay with NumPy functions on arrays, make arrays of it, or to write it into, with retape.numpy (array, "
                "full, zeros) or under `with retape.patched():`"
            )
            function = scipy_function()
            if function is not None:
                purpose, cure = f"{function}, as it stands,", HOOKS["cure_for_scipy"](function)
            raise NotDifferentiableError(
                f"{purpose} of a traced array would lose its gradient ({place(user_line())}): {cure}, or say "
                "retape.stop_gradient(x) if no gradient is wanted"
            )

    def freeze(self, value: Any) -> None:
        """Make a captured plain array read-only until this level is closed.

        The reverse sweep reads it as it is then: a program that changes it after use would get a wrong gradient, and
        now gets NumPy's error instead. (A view is guarded, not its base, which others may be filling.)
        """
        if type(value) is np.ndarray and value.flags.writeable:
            value.flags.writeable = False
            self.frozen.append(value)

    def close(self) -> None:
        """End recording: from now on a use of this level's arrays is an error."""
        self.closed = True
        self.hot = 0
        for value in reversed(self.frozen):
            try:
                value.flags.writeable = True
            except ValueError:  # a view whose base another thread's level still guards
                pass
        self.frozen.clear()


def open_levels() -> tuple[Level, ...]:
    """Return the levels that are open in this context, the innermost last."""
    return _open.get()


def innermost() -> Level | None:
    """Return the innermost level that is open in this context, or None outside all transforms."""
    levels = _open.get()
    return levels[-1] if levels else None
