"""Microbatches: a batch is split along its leading axis until a plan fits, and the gradients are added up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.units import format_bytes
from ..runtime import trees
from ..runtime.arguments import is_differentiable_leaf, positions
from ..runtime.errors import InputError
from ..runtime.landing import Landing
from ..runtime.streams import Journal
from .gradients import Gradient
from .options import Budget, Options, read_options
from .programs import signature
from .report import Report

# Elements.
_BLOCK = 2**15
_DOUBTFUL = 1.25  # times the budget: what is said to be needed may be more than is


def accumulate(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    microbatch: int | str = "auto",
    **budget: Unpack[Budget],
) -> Accumulate:
    """Return a function like `value_and_grad(f)` that runs a batch as microbatches and adds up their gradients.

    `f(params, batch)` is a mean over the rows of `batch`, nested containers of arrays that share their leading extent.
    `microbatch` is a number of rows, or "auto": the largest of the batch, its half, its quarter and so on for which a plan
    fits into `memory_budget` (see `grad` for the keywords) together with the sum of the gradients. The last microbatch may
    be smaller; each is weighed by its rows. `.report` tells of the last call, its `microbatch` included.

    Raises `MemoryBudgetError` when not even one row fits, `InputError` for batches without a common leading axis, and what
    `grad` raises.

    >>> import numpy as np, retape as rt
    >>> step = rt.accumulate(lambda w, x: np.mean((x @ w) ** 2), microbatch=2)
    >>> value, gradient = step(np.ones(3), np.eye(3))
    >>> round(float(value), 6), gradient.round(3).tolist()
    (1.0, [0.667, 0.667, 0.667])
    """
    return Accumulate(f, argnums, microbatch=microbatch, options=read_options("accumulate", budget))


class Accumulate:
    """A function's value and gradient over microbatches, made by `accumulate`."""

    def __init__(
        self,
        f: Callable,
        argnums: int | Sequence[int],
        *,
        microbatch: int | str,
        options: Options | None,
    ) -> None:
        if microbatch != "auto" and (not isinstance(microbatch, int) or microbatch < 1):
            raise ValueError(f"microbatch={microbatch!r} must be a positive number of rows or 'auto'")
        functools.update_wrapper(self, f, updated=())
        self.microbatch = microbatch
        self.options = options
        self.report: Report | None = None
        self._argnums = argnums
        choices: dict[str, Any] = {"has_aux": False, "allow_int": False, "disconnected": "zeros"}
        self._make = functools.partial(Gradient, f, argnums, with_value=True, **choices)
        self._whole = self._make(options=options)
        self._partial: dict[int, Gradient] = {}
        self._chosen: dict[Any, int] = {}

    def __call__(self, params: Any, batch: Any, *args: Any, **keywords: Any) -> tuple[Any, Any]:
        """Return ``(value, gradient)`` of the mean over all rows of `batch`."""
        return self._sized(None, params, batch, args, keywords)

    def into(self, landing: Landing, params: Any, batch: Any, *args: Any, **keywords: Any) -> Any:
        """Return the mean's value; the gradient's leaves go where `landing` says, as the last microbatch finishes them.

        The same numbers as from a call, bit for bit. Raises `InputError` for places that do not fit.
        """
        return self._sized(landing, params, batch, args, keywords)[0]

    def _sized(self, landing: Landing | None, params: Any, batch: Any, args: tuple, keywords: dict) -> tuple[Any, Any]:
        rows = row_count(batch)
        if self.microbatch != "auto":
            return self._run(min(int(self.microbatch), rows), rows, landing, params, batch, args, keywords)
        if self.options is None:
            return self._run(rows, rows, landing, params, batch, args, keywords)
        key = signature((params, batch, *args), keywords, 0)
        if key in self._chosen:
            return self._run(self._chosen[key], rows, landing, params, batch, args, keywords)
        size = rows
        journal = Journal()  # a size that does not fit has drawn random numbers; the next one draws them again
        while True:
            try:
                with journal:
                    result = self._run(size, rows, landing, params, batch, args, keywords)
            except MemoryBudgetError as error:
                if size == 1:
                    raise MemoryBudgetError(
                        f"not even a microbatch of one row fits: {error}",
                        needed_bytes=error.needed_bytes,
                        budget_bytes=error.budget_bytes,
                    ) from None
                size = _smaller(size, error)
                continue
            self._chosen[key] = size
            return result

    def _step(self, size: int, rows: int, params: Any) -> Gradient:
        """Return the gradient function for microbatches of `size`: with the budget less the sum of gradients it adds to."""
        if size >= rows or self.options is None:
            return self._whole
        held, budget = sum(np.asarray(leaf).nbytes for leaf in trees.flatten(params)[0]), self.options.budget_bytes
        if held >= budget:
            raise MemoryBudgetError(
                f"the sum of the gradients alone takes {format_bytes(held)} ({held} bytes), the budget is "
                f"{format_bytes(budget)} ({budget} bytes): raise the budget",
                needed_bytes=held,
                budget_bytes=budget,
            )
        if held not in self._partial:
            self._partial[held] = self._make(options=self.options.less(held))
        return self._partial[held]

    def _run(
        self, size: int, rows: int, landing: Landing | None, params: Any, batch: Any, args: tuple, keywords: dict
    ) -> tuple[Any, Any]:
        step = self._step(size, rows, params)
        sums = None if landing is None or size >= rows else _Sums(landing, self._primals((params, batch, *args)))
        value, total = None, None
        reports = []
        for start in range(0, rows, size):
            piece = batch if size >= rows else _rows(batch, start, size)
            share = min(size, rows - start) / rows
            if landing is None:
                one, gradient = step(params, piece, *args, **keywords)
            elif sums is None:
                one, gradient = step.into(landing, params, piece, *args, **keywords), None
            else:
                place = sums.adding(share, is_last=start + size >= rows)
                one, gradient = step.into(place, params, piece, *args, **keywords), None
                sums.end(share)
            reports.append(step.report)
            if size >= rows:
                value, total = one, gradient
                break
            value = one * share if value is None else value + one * share
            if landing is None:
                gradient = trees.map_leaves(functools.partial(_scaled, share=share), gradient)
                total = gradient if total is None else trees.map_leaves(_added, total, gradient)
        self.report = self._summary(reports, size, step)
        return value, total

    def _primals(self, args: tuple) -> list:
        wanted = positions(self._argnums, len(args))
        return [leaf for k in wanted for leaf in trees.flatten(args[k])[0] if is_differentiable_leaf(leaf)]

    def _summary(self, reports: list, size: int, step: Gradient) -> Report | None:
        if self.options is None or step.options is None or reports[0] is None:
            return None
        held = self.options.budget_bytes - step.options.budget_bytes
        return replace(
            reports[-1],
            budget_bytes=self.options.budget_bytes,
            projected_bytes=max(report.projected_bytes for report in reports) + held,
            peak_bytes=max(report.peak_bytes for report in reports) + held,
            microbatch=size,
            seconds=sum(report.seconds for report in reports),
        )


def _rows(batch: Any, start: int, size: int) -> Any:
    return trees.map_leaves(lambda leaf: leaf[start : start + size], batch)


def _scaled(leaf: Any, share: float) -> Any:
    if isinstance(leaf, np.ndarray):
        leaf *= share
        return leaf
    return leaf * leaf.dtype.type(share)


def _added(total: Any, leaf: Any) -> Any:
    if isinstance(total, np.ndarray):
        total += leaf
        return total
    return total + leaf


class _Sums:
    """The sums of microbatches' gradients, in the places of a landing or beside; the last one completes them leaf by leaf."""

    def __init__(self, landing: Landing, primals: list) -> None:
        landing.check(primals)
        self.landing = landing
        self.places = [
            np.empty(np.shape(value), np.result_type(value)) if place is None else place
            for place, value in zip(landing.places, primals, strict=True)
        ]
        self.is_first = True

    def adding(self, share: float, *, is_last: bool) -> Landing:
        """Return where the next microbatch's gradients go."""
        if self.is_first:
            return Landing(self.places, lambda number, gradient: None)

        def add(number: int, gradient: np.ndarray) -> None:
            _add_scaled(self.places[number], gradient, share)
            if is_last:
                self.landing.on_gradient(number, self.places[number])

        return Landing([None] * len(self.places), add)

    def end(self, share: float) -> None:
        """Note that a microbatch is over: the first one's gradients are multiplied by its share."""
        if self.is_first:
            self.is_first = False
            for place in self.places:
                np.multiply(place, share, out=place)


def _add_scaled(total: np.ndarray, gradient: np.ndarray, share: float) -> None:
    """Add ``gradient * share``, in blocks that stay in the cache, so that it takes no memory worth counting."""
    flat, added = total.reshape(-1), gradient.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        flat[start : start + _BLOCK] += added[start : start + _BLOCK] * share


def _smaller(size: int, error: MemoryBudgetError) -> int:
    """Return the next size to try: half of what does not fit, and half of that again while it cannot be expected to fit.

    What a batch needs is a constant and a share for each row: half of it needs more than half.
    """
    rows = size
    while True:
        rows = -(-rows // 2)
        if rows == 1 or error.needed_bytes * rows <= _DOUBTFUL * error.budget_bytes * size:
            return rows


def row_count(batch: Any) -> int:
    """Return the common leading extent of a batch. Raises `InputError` where there is none."""
    paths, leaves, _ = trees.flatten_with_paths(batch)
    extents = {path: np.shape(leaf)[:1] for path, leaf in zip(paths, leaves, strict=True)}
    if not extents or () in extents.values() or len(set(extents.values())) != 1:
        shapes = ", ".join(f"batch{path}: {np.shape(leaf)}" for path, leaf in zip(paths, leaves, strict=True))
        raise InputError(f"a batch must hold arrays with one common leading extent to be split, not {shapes or 'nothing'}")
    rows = next(iter(extents.values()))[0]
    if rows == 0:
        raise InputError("the batch has no rows")
    return rows
