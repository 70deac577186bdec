"""Makes the table of loops that write into an array element by element: what one write costs, however long the loop is.

NumPy computes the value alone. HIPS autograd does not differentiate such programs, nor does JAX without a rewrite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cells
import measure
import numpy as np
import tables

_LENGTHS, _QUICK_LENGTHS = (1024, 4096, 16384), (256, 1024, 4096)
_COLUMNS = 16


def elements(zeros: Callable, tanh: Callable, x: Any, count: int) -> Any:
    """An integral that is summed up element by element."""
    z = zeros(count)
    z[0] = x[0]
    for i in range(1, count):
        z[i] = 0.5 * z[i - 1] + x[i]
    return z.sum()


def rows(zeros: Callable, tanh: Callable, x: Any, count: int) -> Any:
    """A simulation whose states are the rows of an array."""
    u = zeros((count, _COLUMNS))
    u[0] = x[:_COLUMNS]
    for t in range(count - 1):
        u[t + 1] = tanh(u[t] + x[t])
    return u.sum()


def added(zeros: Callable, tanh: Callable, x: Any, count: int) -> Any:
    """Contributions that are added to their places."""
    z = zeros(count)
    for i in range(count):
        z[i] += x[i] * x[i - 1]
    return z.sum()


PROGRAMS = {"elements": elements, "rows": rows, "added to": added}


def table(*, quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    result = cells.ask("in_place", {"quick": quick})
    counts = result["counts"]
    rows_of_text = []
    for name, libraries in result["micros"].items():
        for library, micros in libraries.items():
            rows_of_text.append(
                [
                    name,
                    library,
                    *("-" if m is None else f"{m:.1f}" for m in micros),
                    tables.ratio(micros[-1] / libraries["NumPy, value alone"][-1] if micros[-1] else None, digits=1),
                ]
            )
    tables.table(
        "Writes in place: microseconds per write in loops of n writes",
        ["program", "", *(f"n = {count}" for count in counts), "over NumPy"],
        rows_of_text,
        texts=2,
        notes=["CPU time, least of the rounds. A dash: the library refuses the program, or a write took over 5 ms."],
    )
    return result


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Time all libraries in this process, in microseconds per write."""
    counts = _QUICK_LENGTHS if spec["quick"] else _LENGTHS
    micros: dict[str, dict[str, list[float | None]]] = {}
    for name, program in PROGRAMS.items():
        found = micros[name] = {}
        for count in counts:
            x = 0.1 * np.cos(np.arange(float(count)))
            for library, call in _calls(program, x, count).items():
                column = found.setdefault(library, [])
                column.append(_micros(call, count) if not column or column[-1] is not None else None)
    return {"counts": counts, "micros": micros}


def _micros(call: Callable[[], Any], count: int) -> float | None:
    try:
        seconds = min(measure.cpu_seconds(call) for _ in range(3 if count < 10000 else 1))
    except RuntimeError:  # how PyTorch refuses a write over what its reverse sweep would read
        return None
    return 1e6 * seconds / count if seconds < 5e-3 * count else None


def _calls(program: Callable, x: np.ndarray, count: int) -> dict[str, Callable[[], Any]]:
    import retape as rt

    def loss(x: Any) -> Any:
        return program(rt.numpy.zeros, np.tanh, x, count)

    gradient = rt.grad(loss)
    direction = np.ones(count)
    calls = {
        "NumPy, value alone": lambda: program(np.zeros, np.tanh, x, count),
        "retape, gradient": lambda: gradient(x),
        "retape, forward mode": lambda: rt.jvp(loss, (x,), (direction,)),
        "retape, Hessian-vector product": lambda: rt.hvp(loss, (x,), (direction,)),
    }
    if cells.installed("torch"):
        calls["PyTorch eager, gradient"] = _torch(program, x, count)
    return calls


def _torch(program: Callable, x: np.ndarray, count: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    leaf = torch.from_numpy(x).requires_grad_()

    def zeros(shape: Any) -> Any:
        return torch.zeros(shape, dtype=torch.float64)

    return lambda: torch.autograd.grad(program(zeros, torch.tanh, leaf, count), leaf)[0]


if __name__ == "__main__":
    cells.answer(cell)
