"""Measures, from the calls that the forms make, what each op really takes against what it declares; run as a program.

Every call of an op that the forms' gradients record is made again with its axes multiplied, so that its memory is large
enough to see, in this process, whose allocator gives every freed page back at once. Prints one line of JSON: the ops
measured, and each call that took more than its output, its declared workspace and a small constant.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import pkgutil
import re
import sys
import warnings
from pathlib import Path

import forms
import numpy as np
import optree

import retape as rt
from retape.runtime import phantom
from retape.scheduler import executor
from retape.scheduler.actions import OVERWRITE, RUN, RUN_INTO

MIB = 2**20
SLACK = 512 * 1024
WHOLE_MATRICES = {
    "solve", "inv", "pinv", "cholesky", "qr", "qr_complement", "cofactors", "det", "slogdet", "eigh", "eigvalsh", "eig",
    "svd", "svdvals",
}  # fmt: skip
TOO_LONG = {"roots", "convolve", "odeint"}  # of more than linear cost in a vector


def status(key):
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def growth(call):
    """Return what `call` returns, and by how much the resident set grew at its highest."""
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    made = call()
    return made, status("VmHWM") - before


def least_growth(call):
    """Return the growth during a call, without what other threads and the heap's own growth add now and then."""
    return min(growth(call)[1] for _ in range(2))


def collected(modules, most_calls):
    """Return up to `most_calls` different calls of each op: ``(op, args, parameters)``."""
    calls = {}
    perform = executor.Executor.perform

    def spying(self, actions, limit):
        def seen():
            for action in actions:
                if action[0] in (RUN, RUN_INTO, OVERWRITE):
                    op, slots, parameters, _ = self.tape.calls[self.tape.call_of(action[4])]
                    args = [self.tape.values[slot] for slot in slots]
                    kinds = tuple((getattr(a, "dtype", type(a)), np.ndim(a), a is not None and np.size(a) > 1) for a in args)
                    mine = calls.setdefault(op.name, {})
                    key = (kinds, tuple(parameters or ()), str((parameters or {}).get("axis")))
                    if key not in mine and len(mine) < most_calls and all(a is not None for a in args):
                        kept = [np.array(a, order="K") if isinstance(a, np.ndarray) else a for a in args]
                        strides = [a.strides if isinstance(a, np.ndarray) else () for a in args]
                        mine[key] = (op, kept, strides, parameters)
                yield action

        perform(self, seen(), limit)

    executor.Executor.perform = spying
    try:
        for name in modules:
            for form in importlib.import_module(f"forms.{name}").FORMS:
                rt.grad(lambda *a, form=form: total(form, *a), tuple(range(len(form.args))), memory_budget="64MiB")(
                    *form.args
                )
    finally:
        executor.Executor.perform = perform
    return [call for mine in calls.values() for call in mine.values()]


def total(form, *args):
    return sum(np.sum(np.real(y)) for y in optree.tree_leaves(form.f(*args), namespace="retape"))


def grown(a, strides, factor, *, is_matrix):
    """Return `a` with every axis longer than 1 multiplied; matrices as blocks on a diagonal, so that they stay regular."""
    if not isinstance(a, np.ndarray) or not a.size or not a.ndim or a.dtype == np.uint64:  # a place in a random stream
        return a
    if is_matrix and a.ndim > 1:
        return np.kron(np.eye(factor).reshape((1,) * (a.ndim - 2) + (factor, factor)), a).astype(a.dtype)
    order = sorted(range(a.ndim), key=lambda axis: -abs(strides[axis]))
    tiled = np.tile(a, tuple(factor if n > 1 else 1 for n in a.shape))
    made = np.ascontiguousarray(tiled.transpose(order)).transpose(np.argsort(order))
    if any(step == 0 and n > 1 for step, n in zip(strides, a.shape, strict=True)):
        cut = tuple(slice(0, 1) if step == 0 else slice(None) for step in strides)
        return np.broadcast_to(made[cut], made.shape)
    return made


def scaled(parameters, factor):
    """Return static parameters that name extents, multiplied."""
    made = dict(parameters or {})
    for name in ("n", "length"):
        if isinstance(made.get(name), int) and made[name] > 1:
            made[name] *= factor
    if "shape" in made:
        made["shape"] = tuple(n * factor if n > 1 else n for n in made["shape"])
    return made


def excess(op, args, strides, parameters, target):
    """Return by how many bytes a call of `op` at about `target` bytes exceeds what it declares; None where it cannot grow."""
    layouts = [phantom.like(a) for a in args]
    largest = max([a for a in args if isinstance(a, np.ndarray)] + [op.infer(*layouts, **(parameters or {}))], key=np.size)
    axes = sum(n > 1 for n in largest.shape)
    if not axes or not largest.nbytes:
        return None
    is_matrix = op.name in WHOLE_MATRICES
    share = target / 4 if is_matrix else target
    factor = max(1, int((share / largest.nbytes) ** (1 / (2 if is_matrix else axes))))
    if any(a.nbytes * factor ** sum(n > 1 for n in a.shape) > 16 * target for a in args if isinstance(a, np.ndarray)):
        return None  # of more axes than the largest
    big = [grown(a, steps, factor, is_matrix=is_matrix) for a, steps in zip(args, strides, strict=True)]
    options = scaled(parameters, factor)
    layouts = [phantom.like(a) for a in big]
    made = op.infer(*layouts, **options)
    if max([made.nbytes, *(getattr(a, "nbytes", 0) for a in big)]) > 16 * target:
        return None
    declared = made.nbytes + (op.workspace(made, *layouts, **options) if op.workspace is not None else 0)
    op.run(*big, **options)  # what a first call loads and sets up once
    took = least_growth(lambda: op.run(*big, **options))
    if op.run_into is not None and not op.reads_target:
        out = np.full(made.shape, 1, made.dtype)
        op.run_into(out, *big, **options)
        if out.tobytes() != np.asarray(op.run(*big, **options)).tobytes():
            raise AssertionError(f"{op.name} gives other bits into a buffer than into fresh memory, for {parameters}")
        took = max(took, least_growth(lambda: op.run_into(out, *big, **options)) + made.nbytes)
    return took - declared


def main(modules, most_calls):
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 65536)
    libc.mallopt(-1, 65536)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    measured, over, refused = set(), [], set()
    for op, args, strides, parameters in collected(modules, most_calls):
        if op.is_view or op.name in TOO_LONG:
            continue
        try:
            found = excess(op, args, strides, parameters, 2 * MIB)
        except (ValueError, IndexError, np.linalg.LinAlgError):
            refused.add(op.name)  # a call whose axes do not grow together
            continue
        if found is None:
            continue
        measured.add(op.name)
        if found > SLACK:
            shapes = [getattr(a, "shape", a) for a in args]
            over.append(f"{op.name}: {found / MIB:.2f} MiB more than declared, from {shapes} {parameters}")
    print(json.dumps({"measured": sorted(measured), "over": over, "refused": sorted(refused - measured)}))


if __name__ == "__main__":
    most_calls = int(sys.argv[1])
    names = sys.argv[2:] or [m.name for m in pkgutil.iter_modules(forms.__path__) if not m.name.startswith("scipy")]
    main(names, most_calls)
