"""Makes the table of what one small op costs in a gradient and in a Hessian-vector product, against peers.

A chain of sin, multiply and add on arrays of 10: the arithmetic is nothing, so what is left is each library's
own cost. All take turns in one process. JAX is slow without its compiler, and its compiler on long chains, so
its chain is shorter.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import cells
import measure
import numpy as np
import tables

_SIZE = 10
_OPS, _JAX_OPS = 300, 48


def chain(namespace: Any, x: Any, a: Any, ops: int) -> Any:
    """The loss, of `ops` small ops and a sum."""
    y = x
    for _ in range(ops // 3):
        y = namespace.sin(y) * x + a
    return namespace.sum(y)


def table(*, quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    result = cells.ask("overhead", {"quick": quick})
    own = result["gradient"]["retape"]
    rows = []
    for name, micros in result["gradient"].items():
        compiling = result["compile_seconds"].get(name)
        product, own_product = result["product"].get(name), result["product"]["retape"]
        rows.append(
            [
                name,
                f"{micros:.2f}",
                tables.ratio(micros / own),
                "-" if product is None else f"{product:.1f}",
                tables.ratio(None if product is None else product / own_product),
                "-" if compiling is None else f"{compiling:.1f} s",
            ]
        )
    tables.table(
        f"Cost of one op: value and gradient of {_OPS} ops on {_SIZE} float64 (JAX: {_JAX_OPS} ops)",
        ["", "us per op", "over retape", "HVP, us per op", "over retape", "compiling"],
        rows,
        notes=[
            "CPU time, least of the rounds. Planned: under a budget that everything fits into.",
            "NumPy computes the value alone: the floor under the forward sweep.",
            "HVP: gradient of the dot product of the gradient and a vector, per op of the value's chain.",
        ],
    )
    book = result["bookkeeping"]
    tables.say(
        f"A tape of {book['calls']:,} small calls: {book['seconds']:.2f} s to record, {book['bytes_per_call']:.0f} bytes of "
        f"bookkeeping a call, {book['collections']} runs of the cyclic garbage collector"
    )
    return result


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Time all libraries in this process, in microseconds per op."""
    rounds = 5 if spec["quick"] else 15
    draw = np.random.default_rng(0)
    x, a, v = (draw.standard_normal(_SIZE) for _ in range(3))
    gradients, products = _retape(x, a, v)
    expected = gradients["retape"]()[1]
    gradients["NumPy, value alone"] = lambda: chain(np, x, a, _OPS)
    for peer, make in (("autograd", _autograd), ("torch", _torch)):
        if cells.installed(peer):
            more, more_products = make(x, a, v)
            gradients |= more
            products |= more_products
    for name, call in gradients.items():
        if "NumPy" not in name:
            np.testing.assert_allclose(np.asarray(call()[1]), expected, rtol=1e-8, err_msg=name)
    for name, call in products.items():
        np.testing.assert_allclose(np.asarray(call()), products["retape"](), rtol=1e-8, err_msg=name)
    seconds = measure.interleaved(gradients, rounds=rounds)
    micros = {name: 1e6 * value / _OPS for name, value in seconds.items()}
    product_seconds = measure.interleaved(products, rounds=rounds)
    compiling: dict[str, float] = {}
    if cells.installed("jax"):
        jax_calls, compiling = _jax(x, a)
        fewer = max(2, rounds // 5)
        seconds = measure.interleaved(jax_calls, rounds=fewer)
        micros |= {name: 1e6 * value / _JAX_OPS for name, value in seconds.items()}
    return {
        "gradient": micros,
        "product": {name: 1e6 * value / _OPS for name, value in product_seconds.items()},
        "compile_seconds": compiling,
        "bookkeeping": _bookkeeping(100_000 if spec["quick"] else 1_000_000),
    }


def _bookkeeping(calls: int) -> dict[str, Any]:
    """Record a long chain of small calls twice: once for the time, once under tracemalloc."""
    import retape as rt

    figures: dict[str, Any] = {"calls": calls}

    def loss(x: Any) -> Any:
        start = time.process_time()
        before = sum(generation["collections"] for generation in gc.get_stats())
        y = x
        for _ in range(calls):
            y = y + 1.0
        figures["seconds"] = time.process_time() - start
        figures["collections"] = sum(generation["collections"] for generation in gc.get_stats()) - before
        if tracemalloc.is_tracing():
            figures["bytes_per_call"] = tracemalloc.get_traced_memory()[0] / calls
        return y

    tracemalloc.start()
    rt.grad(loss)(1.0)
    tracemalloc.stop()
    rt.grad(loss)(1.0)
    return figures


Calls = dict[str, Callable[[], Any]]


def _retape(x: np.ndarray, a: np.ndarray, v: np.ndarray) -> tuple[Calls, Calls]:
    import retape as rt

    def loss(x: Any) -> Any:
        return chain(np, x, a, _OPS)

    plain, budgeted = rt.value_and_grad(loss), rt.value_and_grad(loss, memory_budget="1GiB")
    product = rt.grad(lambda x: np.sum(rt.grad(loss)(x) * v))
    return {"retape": lambda: plain(x), "retape, planned": lambda: budgeted(x)}, {"retape": lambda: product(x)}


def _autograd(x: np.ndarray, a: np.ndarray, v: np.ndarray) -> tuple[Calls, Calls]:
    import autograd
    import autograd.numpy as anp

    def loss(x: Any) -> Any:
        return chain(anp, x, a, _OPS)

    gradient, inner = autograd.value_and_grad(loss), autograd.grad(loss)
    product = autograd.grad(lambda x: anp.sum(inner(x) * v))
    name = cells.PEERS["autograd"]
    return {name: lambda: gradient(x)}, {name: lambda: product(x)}


def _torch(x: np.ndarray, a: np.ndarray, v: np.ndarray) -> tuple[Calls, Calls]:
    import torch

    torch.set_num_threads(1)
    x, a, v = torch.from_numpy(x).requires_grad_(), torch.from_numpy(a), torch.from_numpy(v)

    def gradient() -> Any:
        loss = chain(torch, x, a, _OPS)
        return loss.item(), torch.autograd.grad(loss, x)[0]

    def product() -> Any:
        (inner,) = torch.autograd.grad(chain(torch, x, a, _OPS), x, create_graph=True)
        return torch.autograd.grad(torch.sum(inner * v), x)[0]

    name = f"{cells.PEERS['torch']} eager"
    return {name: gradient}, {name: product}


def _jax(x: np.ndarray, a: np.ndarray) -> tuple[Calls, dict[str, float]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, a = jnp.asarray(x), jnp.asarray(a)
    eager = jax.value_and_grad(lambda x: chain(jnp, x, a, _JAX_OPS))
    compiled = jax.jit(eager)
    start = time.process_time()
    jax.block_until_ready(compiled(x))
    compiling = time.process_time() - start
    calls = {"JAX eager": eager, "JAX jit": compiled}
    timed = {name: lambda call=call: jax.block_until_ready(call(x)) for name, call in calls.items()}
    return timed, {"JAX jit": compiling}


if __name__ == "__main__":
    cells.answer(cell)
