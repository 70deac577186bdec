"""Makes the table of retape's derivatives against PyTorch's, on PyTorch's own sample inputs.

PyTorch tests its operators against NumPy functions on tables of sample inputs. Here the NumPy function runs under retape
and the operator under PyTorch's autograd; gradient and Hessian-vector product of a weighted sum of the outputs must agree.
A sample counts only where the two compute the same value in plain NumPy and PyTorch.
"""

from __future__ import annotations

import collections
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import cells
import numpy as np
from judging import shorten

_SAMPLES = 40


class _Sample:
    """One sample as functions of its differentiable inputs, for PyTorch and for NumPy."""

    def __init__(self, op: Any, sample: Any) -> None:
        import torch

        self.op = op
        plain = sample.numpy()
        keywords = {} if not hasattr(op, "sample_kwargs") else op.sample_kwargs("cpu", torch.float64, sample.input)[1]
        self.given = (sample.input, tuple(sample.args), dict(sample.kwargs))
        self.plain = (plain.input, tuple(plain.args), {**plain.kwargs, **keywords})
        self.tensors: list[Any] = []
        self.arrays: list[Any] = []
        self._walk(self.given, self.plain)

    def _walk(self, given: Any, plain: Any) -> None:
        import torch

        if isinstance(given, torch.Tensor):
            if given.requires_grad:
                self.tensors.append(given)
                self.arrays.append(plain)
        elif isinstance(given, (list, tuple)):
            for a, b in zip(given, plain, strict=True):
                self._walk(a, b)
        elif isinstance(given, dict):
            for key in given:
                self._walk(given[key], plain[key])

    def torch_outputs(self) -> list:
        first, args, keywords = self.given
        return _flat(self.op(first, *args, **keywords))

    def numpy_outputs(self, *values: Any) -> list:
        """The outputs with `values` in the place of the differentiable inputs."""
        by_id = {id(array): value for array, value in zip(self.arrays, values, strict=True)}

        def put(tree: Any) -> Any:
            if id(tree) in by_id:
                return by_id[id(tree)]
            if isinstance(tree, (list, tuple)):
                return type(tree)(put(item) for item in tree)
            return {key: put(item) for key, item in tree.items()} if isinstance(tree, dict) else tree

        first, args, keywords = put(self.plain)
        return _flat(self.op.ref(first, *args, **keywords))


def _flat(output: Any) -> list:
    return [leaf for item in output for leaf in _flat(item)] if isinstance(output, (list, tuple)) else [output]


def _weights(shape: Any, number: int) -> np.ndarray:
    return np.cos(np.arange(1.0, np.prod(shape, dtype=int) + 1.0) * 1.3 + number).reshape(shape)


def _total(outputs: list, kind: Callable, xp: Any, wrap: Callable) -> Any:
    total = 0.0
    for number, y in enumerate(outputs):
        if kind(y) in ("f", "c"):
            weights = _weights(tuple(y.shape), number)
            total = total + xp.sum(xp.real(y) * wrap(weights))
            if kind(y) == "c":
                total = total + xp.sum(xp.imag(y) * wrap(0.4 - weights))
    return total


def _kind(y: Any) -> str:
    return np.result_type(y.dtype).kind if hasattr(y, "dtype") else "f" if isinstance(y, float) else "-"


def compare(sample: _Sample, second_order: bool) -> dict[str, str]:
    """Return ``{"gradient": outcome, "product": outcome}``; empty where the two do not compute the same."""
    import torch

    import retape as rt

    def torch_kind(y: Any) -> str:
        return ("c" if y.is_complex() else "f" if y.is_floating_point() else "i") if isinstance(y, torch.Tensor) else "-"

    try:
        ours = _total(
            [np.asarray(y) if _kind(y) != "-" else y for y in sample.numpy_outputs(*sample.arrays)], _kind, np, np.asarray
        )
        theirs = _total(sample.torch_outputs(), torch_kind, torch, torch.from_numpy)
        if not np.isfinite(ours) or abs(ours - theirs.item()) > 1e-8 * (1 + abs(ours)):
            return {}
        wanted = torch.autograd.grad(theirs, sample.tensors, create_graph=True, allow_unused=True)
    except Exception:  # a sample that one of the two does not take says nothing
        return {}
    generator = np.random.default_rng(0)
    directions = [generator.standard_normal(np.shape(a)) for a in sample.arrays]

    def loss(*values: Any) -> Any:
        return _total(sample.numpy_outputs(*values), _kind, np, np.asarray)

    def gradient() -> str:
        value, found = rt.value_and_grad(loss, tuple(range(len(sample.arrays))))(*sample.arrays)
        if abs(value - ours) > 1e-10 * (1 + abs(ours)):
            return f"differs: the value is {value}, plain NumPy's {ours}"
        outcome = _agree(found, wanted)
        return outcome if outcome == "agrees" else outcome + _umpire(loss, sample.arrays, found, wanted)

    def product() -> str:
        inner = rt.grad(loss, tuple(range(len(sample.arrays))))

        def along(*values: Any) -> Any:
            return sum(np.sum(g * d) for g, d in zip(inner(*values), directions, strict=True))

        found = rt.grad(along, tuple(range(len(sample.arrays))))(*sample.arrays)
        return _agree(found, products)

    outcomes = {"gradient": _guarded(gradient)}
    if second_order:
        try:
            inner = sum((g * torch.from_numpy(d)).sum() for g, d in zip(wanted, directions, strict=True) if g is not None)
            products = (
                torch.autograd.grad(inner, sample.tensors, allow_unused=True) if inner.requires_grad else [None] * len(wanted)
            )
        except Exception:
            return outcomes
        outcomes["product"] = _guarded(product)
    return outcomes


def _agree(found: Any, wanted: Any) -> str:
    for which, (a, b) in enumerate(zip(found, wanted, strict=True)):
        b = np.zeros(np.shape(a)) if b is None else b.detach().numpy(force=True)
        if np.shape(a) != b.shape or not np.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=False):
            return f"differs: input {which}: {np.ravel(a)[:3]}, PyTorch {np.ravel(b)[:3]}"
    return "agrees"


def _umpire(loss: Callable, arrays: list, found: Any, wanted: Any) -> str:
    """Say with whom differences of plain NumPy side along a random direction."""
    generator = np.random.default_rng(1)
    directions = [generator.standard_normal(np.shape(a)) for a in arrays]
    above, below = (loss(*[a + h * d for a, d in zip(arrays, directions, strict=True)]) for h in (1e-6, -1e-6))
    slope = (above - below) / 2e-6
    wanted = [
        np.zeros(np.shape(a)) if b is None else b.detach().numpy(force=True) for a, b in zip(found, wanted, strict=True)
    ]
    sides = []
    for name, gradients in (("retape", found), ("PyTorch", wanted)):
        by_rule = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
        if abs(by_rule - slope) <= 1e-5 * (1 + abs(slope)):
            sides.append(name)
    return f" (differences side with {' and '.join(sides) or 'neither'})"


def _guarded(run: Callable[[], str]) -> str:
    try:
        return run()
    except Exception as error:
        return shorten(f"raises {type(error).__name__}: {error}")


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Compare on every operator that has a NumPy function and a gradient."""
    warnings.simplefilter("ignore")
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    torch.set_num_threads(1)
    outcomes = []
    for op in op_db:
        if getattr(op, "ref", None) is None or not op.supports_autograd:
            continue
        name = f"{op.name} {op.variant_test_name}".strip()
        if spec["match"] not in name:
            continue
        torch.manual_seed(0)
        found = []
        for sample in itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), _SAMPLES):
            with np.errstate(all="ignore"):
                try:
                    found.append(compare(_Sample(op, sample), op.supports_gradgrad))
                except Exception as error:
                    found.append({"sample": f"{type(error).__name__}: {error}"})
        outcomes.append((name, found))
        print(name, found[:1], file=sys.stderr, flush=True)
    return {"outcomes": outcomes}


def table(match: str, say: Any, make_table: Any) -> dict[str, Any]:
    """Run, print the counts and every disagreement and refusal, and return the outcomes."""
    missing = [package for package in ("torch", "expecttest", "scipy") if importlib.util.find_spec(package) is None]
    if missing:
        say(f"PyTorch's samples need {', '.join(missing)}: left out (pip install {' '.join(missing)})")
        return {}
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            [sys.executable, __file__, json.dumps({"match": match})],
            env={**os.environ, **cells.ONE_THREAD}, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        if done.returncode:
            log.seek(0)
            raise RuntimeError(f"PyTorch's samples ended with status {done.returncode}:\n{log.read()[-2000:]}")
    outcomes = json.loads(done.stdout.splitlines()[-1])["outcomes"]
    rows, reasons = [], []
    for mode in ("gradient", "product"):
        samples: collections.Counter = collections.Counter()
        operators: collections.Counter = collections.Counter()
        for name, found in outcomes:
            words = [modes[mode] for modes in found if mode in modes]
            kinds = {word.split()[0].rstrip(":") for word in words}
            if words:
                samples.update(word.split()[0].rstrip(":") for word in words)
                operators["differs" if "differs" in kinds else "raises" if "raises" in kinds else "agrees"] += 1
                for word, count in collections.Counter(word for word in words if word != "agrees").most_common(3):
                    reasons.append(f"{name} {mode}, {count} of {len(words)}: {word}")
        for what, counted in (("operators", operators), ("samples", samples)):
            total = sum(counted.values())
            share = f"{100 * counted['agrees'] / max(total, 1):.1f} %"
            rows.append([mode, what, str(total), *(str(counted[key]) for key in ("agrees", "raises", "differs")), share])
    silent = [name for name, found in outcomes if not any("gradient" in modes for modes in found)]
    make_table(
        "PyTorch's sample inputs: its NumPy reference under retape against its own derivatives",
        ["derivative", "of", "compared", "agrees", "raises", "differs", "share"],
        rows,
        texts=2,
        notes=[f"Without a sample on which NumPy and PyTorch compute the same: {', '.join(silent) or 'none'}."],
    )
    for reason in reasons:
        say(f"  {reason}")
    return {"outcomes": outcomes}


if __name__ == "__main__":
    cells.answer(cell)
