"""Errors of recording and differentiating; each says what happened and the nearest cure."""

from __future__ import annotations


class TapeError(Exception):
    """Base of every error that recording or differentiating a program raises."""


class NotDifferentiableError(TapeError, TypeError):
    """A differentiable value was used where its gradient would have been lost."""


class MissingRuleError(TapeError, NotImplementedError):
    """A NumPy function, or a form of it, has no derivative rule here."""


class BatchedValueError(TapeError, TypeError):
    """A value that differs from example to example was used under `vmap` where one value is wanted."""


class EscapedError(TapeError, RuntimeError):
    """A traced array was used after its transform had ended."""


class ThreadError(TapeError, RuntimeError):
    """A traced array was used in another thread than the one its transform runs in."""


class DisconnectedError(TapeError, ValueError):
    """The output does not depend on an argument that it was to be differentiated by."""


class RuleError(TapeError, ValueError):
    """A custom derivative rule returned something of the wrong shape, dtype or number."""


class InputError(TapeError, TypeError):
    """An argument or an output of a transform has the wrong type, dtype or shape."""


class ChangedError(TapeError, RuntimeError):
    """What a gradient was computed from is not what it was before: an array was overwritten, or an op gave another result."""


class NeedsValueError(TapeError):
    """A program asked for a number while it was recorded by shapes alone."""
