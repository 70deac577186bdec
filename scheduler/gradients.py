"""grad and value_and_grad: a function becomes a tape, a plan, a schedule, and gradients inside a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from ..runtime import trees
from ..runtime.arguments import check_disconnected, check_function
from ..runtime.array import Array
from ..runtime.errors import InputError
from ..runtime.landing import Landing
from ..runtime.transforms import plain_value_and_grad
from .bounded import Bounded
from .options import Budget, Options, read_options
from .programs import Programs
from .report import Report
from .run import Request


def grad(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    **budget: Unpack[Budget],
) -> Gradient:
    """Return a function that computes the gradient of `f`, a scalar function of nested containers of arrays.

    The gradient has the containers, shapes and dtypes of the arguments that `argnums` names (a tuple of gradients for
    several). With `has_aux`, `f` returns ``(loss, auxiliary)`` and the result is ``(gradient, auxiliary)``. Of complex
    arguments it is ``df/dx - i df/dy``. Leaves of integers raise unless `allow_int`, which gives them zeros;
    `disconnected` is "zeros" or "error", for arguments that the output does not depend on.

    The keywords of `budget` are those of all transforms:

    - `memory_budget` (bytes, or a text such as "512MiB") bounds every buffer that a call creates, its results included; what
      does not fit is freed and computed again, with the same numbers bit for bit (but for single complex numbers, of whose
      products NumPy rounds the last bit otherwise than in arrays). "auto" is what this machine or the process's control
      group has free as `grad` is called, less a tenth.
    - `planner` names who plans, or is a plan from `load_plan`; a search for one takes about `planning_effort` simulated
      steps (100,000 by default, which are about a second; more may find a plan with less extra work).
    - `spill`, a folder: what does not fit goes to disk and back instead where that is faster, up to `spill_budget` bytes
      (without one, half of what is free there); the file has no name and is gone however the call ends.
    - `subscriber` is called with the events of a call under a budget (`scheduler/events.py`), as it goes on; an error that
      it raises ends the call.

    See `.report` of the returned function for what the last call took. Inside another transform the gradient is
    differentiated within the same budget: of what is passed to it only the arguments are held for that, and it is computed
    again. Inside a transform that has a budget, that one bounds everything.

    Raises `MemoryBudgetError` before the memory is taken when no plan fits, `SpillError` for a folder that cannot be
    written to and for a disk that fails while values are on it, `InputError` for arguments or outputs that have no
    derivative, `DisconnectedError`, `PlanMismatchError` for a loaded plan of another program, `ValueError` for a budget
    that cannot be read, `TypeError` for a keyword that is not known, `TapeError` where `f` uses a traced array of a
    transform around it that it was not passed.

    >>> import numpy as np, retape as rt
    >>> rt.grad(lambda w: np.sum(np.tanh(w) ** 2), memory_budget="1MiB")(np.zeros(2)).tolist()
    [0.0, 0.0]
    """
    choices: dict[str, Any] = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    return Gradient(f, argnums, with_value=False, options=read_options("grad", budget), **choices)


def value_and_grad(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    **budget: Unpack[Budget],
) -> Gradient:
    """Return a function that computes ``(value, gradient)`` of `f`, or ``((value, auxiliary), gradient)``; see `grad`.

    >>> import numpy as np, retape as rt
    >>> value, gradient = rt.value_and_grad(lambda x: x**2)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    choices: dict[str, Any] = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    return Gradient(f, argnums, with_value=True, options=read_options("value_and_grad", budget), **choices)


class Gradient:
    """A function's gradient, made by `grad` or `value_and_grad`. `report` tells of the last call under a budget.

    Programs that were seen before are kept, up to 32: the same program with the same shapes is planned once.
    """

    def __init__(
        self,
        f: Callable,
        argnums: int | Sequence[int],
        *,
        has_aux: bool,
        allow_int: bool,
        disconnected: str,
        with_value: bool,
        options: Options | None,
    ) -> None:
        check_function(f)
        check_disconnected(disconnected)
        functools.update_wrapper(self, f, updated=())
        self.function = f
        self.argnums = argnums
        self.has_aux = has_aux
        self.choices: dict[str, Any] = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
        self.with_value = with_value
        self.options = options
        self._programs = Programs()
        self._nested: Bounded | None = None

    @property
    def report(self) -> Report | None:
        """What was allowed, projected and measured of the last call under a budget."""
        return self._programs.report

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return the gradient (and the value) at the arguments."""
        if self.options is None:
            return self._plain(*args, **keywords)
        if not _is_traced(args, keywords):
            return self._result(*self._within_budget(args, keywords, None))
        if self._nested is None:
            self._nested = Bounded(self._plain, self.options, lambda *a, **k: self._result(*self._within_budget(a, k, None)))
        return self._nested(*args, **keywords)

    def into(self, landing: Landing, *args: Any, **keywords: Any) -> Any:
        """Return the value at the arguments; the gradient's leaves go where `landing` says, as they are finished.

        The same numbers as from a call, bit for bit. Under a budget they count in it, though they lie in memory of the
        caller's. Raises `InputError` for places that do not fit. When an error ends the call, gradients may have been
        handed over before.

        >>> import numpy as np, retape as rt
        >>> from retape.runtime.landing import Landing
        >>> place = np.empty(2)
        >>> told = lambda number, gradient: print(number, gradient)
        >>> float(rt.value_and_grad(lambda w: np.sum(w**2)).into(Landing([place], told), np.ones(2)))
        0 [2. 2.]
        2.0
        """
        if self.options is None:
            value, aux, _ = plain_value_and_grad(self.function, args, self.argnums, keywords, landing=landing, **self.choices)
        elif _is_traced(args, keywords):
            raise InputError("gradients of traced arguments are handed over without a memory_budget only: put it outermost")
        else:
            value, aux, _ = self._within_budget(args, keywords, landing)
        return (value, aux) if self.has_aux else value

    def _plain(self, *args: Any, **keywords: Any) -> Any:
        return self._result(*plain_value_and_grad(self.function, args, self.argnums, keywords, **self.choices))

    def _within_budget(self, args: tuple, keywords: dict, landing: Landing | None) -> tuple[Any, Any, Any]:
        assert self.options is not None
        more = {"landing": landing, **self.choices}
        outcome = self._programs.run(Request(self.function, args, keywords, self.argnums, self.options, **more))
        return outcome.value, outcome.aux, outcome.gradients

    def _result(self, value: Any, aux: Any, gradients: Any) -> Any:
        if not self.with_value:
            return (gradients, aux) if self.has_aux else gradients
        return ((value, aux), gradients) if self.has_aux else (value, gradients)


def _is_traced(args: tuple, keywords: dict) -> bool:
    return any(type(leaf) is Array for leaf in trees.flatten((args, keywords))[0])
