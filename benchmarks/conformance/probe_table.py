"""Makes the table of what each library does with each probe: the right derivative, an error, or a wrong one without a word.

The judge is plain NumPy alone: differences of fourth order of the program's value give the gradient, mixed differences
the second derivative along two directions. A probe whose differences do not settle (a jump, a nan) has no reference and
is left out. Each library runs in a process of its own.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import cells
import numpy as np
import probes
import random_writes
from differences import loss, reference
from hips_suite import shorten

LIBRARIES = {
    "retape": "retape, plain NumPy",
    "hips_plain": "HIPS autograd, plain NumPy",
    "hips": "HIPS autograd, autograd.numpy",
    "jax": "JAX, jax.numpy",
}
_NEEDS = {"hips_plain": "autograd", "hips": "autograd", "jax": "jax"}
_SECONDS = 20


class _Library:
    """How a library is called: its namespaces, and its gradient and tangent of a real function of several arrays."""

    def __init__(self, name: str) -> None:
        self.program_numpy: Any = np
        self.loss_numpy: Any = np
        self.forward: Callable | None = None
        self.budgeted: Callable | None = None
        self.leaf = lambda value: value
        if name == "retape":
            import retape as rt

            self.gradient = lambda f, count: rt.grad(f, tuple(range(count)))
            self.budgeted = lambda f, count: rt.grad(f, tuple(range(count)), memory_budget="64MiB")
            if hasattr(rt, "jvp"):
                self.forward = lambda f, args, directions: rt.jvp(f, tuple(args), tuple(directions))[1]
        elif name.startswith("hips"):
            import autograd
            import autograd.numpy as anp

            self.loss_numpy = anp
            self.program_numpy = np if name == "hips_plain" else anp
            self.gradient = lambda f, count: autograd.grad(f, tuple(range(count)))
            self.forward = lambda f, args, directions: autograd.make_jvp(lambda a: f(*a))(tuple(args))(tuple(directions))[1]
        else:
            import jax

            jax.config.update("jax_enable_x64", True)
            self.program_numpy = self.loss_numpy = jax.numpy
            self.gradient = lambda f, count: jax.grad(f, tuple(range(count)))
            self.forward = lambda f, args, directions: jax.jvp(f, tuple(args), tuple(directions))[1]
            self.leaf = lambda value: jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value


def _close(found: Any, wanted: Any, tolerance: float) -> bool:
    found = np.asarray(found)
    return found.shape == np.shape(wanted) and bool(np.all(np.abs(found - wanted) <= tolerance * (1 + np.abs(wanted))))


def judge(library: _Library, text: str, letters: str, known: dict[str, Any]) -> dict[str, str]:
    """Return an outcome per mode: "right", "WRONG: ..." or "raises ..."."""
    count = len(letters)
    f = loss(text, library.program_numpy, library.loss_numpy)

    def fresh() -> list:
        return [library.leaf(arg) for arg in probes.arguments(letters)]

    def along(directions: list, gradients: Any) -> Any:
        xp = library.loss_numpy
        return sum(xp.sum(xp.real(g * library.leaf(d))) for g, d in zip(gradients, directions, strict=True))

    def reverse() -> str:
        seen = []

        def watched(*args: Any) -> Any:
            seen.append(f(*args))
            return seen[-1]

        gradients = library.gradient(watched, count)(*fresh())
        for which, (g, wanted, arg) in enumerate(zip(gradients, known["gradients"], probes.arguments(letters), strict=True)):
            if not _close(g, wanted, 1e-5):
                return f"WRONG: argument {which}: {_brief(g)}, not {_brief(wanted)}"
            if np.asarray(g).dtype != np.result_type(arg):
                return f"WRONG: argument {which}: dtype {np.asarray(g).dtype}"
        return "right"

    def forward() -> str:
        assert library.forward is not None
        tangent = library.forward(f, fresh(), [library.leaf(np.asarray(d)) for d in known["u"]])
        wanted = sum(np.sum(np.real(g * d)) for g, d in zip(known["gradients"], known["u"], strict=True))
        return "right" if _close(tangent, wanted, 1e-5) else f"WRONG: {_brief(tangent)}, not {_brief(wanted)}"

    def second() -> str:
        inner = library.gradient(f, count)
        gradients = library.gradient(lambda *args: along(known["v"], inner(*args)), count)(*fresh())
        found = along(known["u"], gradients)
        return "right" if _close(found, known["second"], 1e-3) else f"WRONG: {_brief(found)}, not {_brief(known['second'])}"

    def budgeted() -> str:
        assert library.budgeted is not None
        plain = library.gradient(f, count)(*fresh())
        planned = library.budgeted(f, count)
        for sight in ("first", "second"):
            for a, b in zip(plain, planned(*fresh()), strict=True):
                if not np.array_equal(a, b, equal_nan=True):
                    return f"WRONG: other bits under a budget, {sight} call"
        return "right"

    modes = {"reverse": reverse}
    if library.forward:
        modes["forward"] = forward
    if known["second"] is not None:
        modes["second"] = second
    if library.budgeted:
        modes["budget"] = budgeted
    return {mode: _guarded(run) for mode, run in modes.items()}


def _is_wrong(library: _Library, text: str, letters: str) -> bool:
    known = reference(text, letters)
    return known is not None and any(words.startswith("WRONG") for words in judge(library, text, letters, known).values())


def _brief(value: Any) -> str:
    return np.array2string(np.ravel(np.asarray(value))[:4], precision=4)


def _late(*_: Any) -> None:
    raise TimeoutError(f"took more than {_SECONDS} s")


def _guarded(run: Callable[[], str]) -> str:
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(_SECONDS)
    try:
        return run()
    except Exception as error:  # whatever a library raises is its answer
        return shorten(f"raises {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Judge one library on the probes whose text holds ``match``, or on ``random`` programs of views and writes."""
    warnings.simplefilter("ignore")
    library = _Library(spec["library"])
    outcomes = []
    programs = [("random", *program) for program in random_writes.programs(spec["random"], seed=spec["seed"])]
    for room, text, letters in programs or probes.probes():
        if spec["match"] not in f"{room}: {text}":
            continue
        with np.errstate(all="ignore"):
            try:
                known = reference(text, letters)
            except Exception as error:
                outcomes.append((room, text, letters, {"reference": f"raises {type(error).__name__}: {error}"}))
                continue
            found = {"reference": "none"} if known is None else judge(library, text, letters, known)
        if programs and known and any(words.startswith("WRONG") for words in found.values()):
            text = random_writes.shrunk(text, letters, lambda fewer, letters=letters: _is_wrong(library, fewer, letters))
        outcomes.append((room, text, letters, found))
        print(text, found, file=sys.stderr, flush=True)
    return {"outcomes": outcomes}


def table(match: str, peers: bool, say: Any, make_table: Any) -> dict[str, Any]:
    """Run all libraries on the probes, print the shares and what retape does not get right, and return the outcomes."""
    wanted = [name for name in LIBRARIES if name == "retape" or peers and cells.installed(_NEEDS[name])]
    results = {name: _ask({"library": name, "match": match, "random": 0, "seed": 0}, say) for name in wanted}
    _show(
        "Small NumPy programs: the derivative is right, an error is raised, or it is wrong without a word",
        results,
        say,
        make_table,
    )
    return results


def random_table(count: int, seed: int, say: Any, make_table: Any) -> dict[str, Any]:
    """Run retape on `count` random programs of views and writes, print the shares and what is not right."""
    results = {"retape": _ask({"library": "retape", "match": "", "random": count, "seed": seed}, say)}
    _show(f"Random programs of views and writes, seed {seed}", results, say, make_table)
    return results


def _ask(spec: dict[str, Any], say: Any) -> list:
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(spec)], env={**os.environ, **cells.ONE_THREAD}, capture_output=True, text=True
    )
    if done.returncode:
        say(f"{LIBRARIES[spec['library']]} ended with status {done.returncode}: {done.stderr[-1000:]}")
        return []
    return json.loads(done.stdout.splitlines()[-1])["outcomes"]


def _show(title: str, results: dict[str, list], say: Any, make_table: Any) -> None:
    rows = []
    for name, outcomes in results.items():
        for mode in ("reverse", "forward", "second", "budget"):
            found = [modes[mode] for *_, modes in outcomes if mode in modes]
            if found:
                counted = collections.Counter(words.split()[0].rstrip(":") for words in found)
                counts = [str(counted[key]) for key in ("right", "raises", "WRONG")]
                rows.append([LIBRARIES[name], mode, str(len(found)), *counts, f"{100 * counted['right'] / len(found):.1f} %"])
    without = sum("reference" in modes for *_, modes in results["retape"])
    make_table(
        title,
        ["library", "mode", "programs", "right", "raises", "WRONG", "share right"],
        rows,
        texts=2,
        notes=[f"{without} more have no reference: their differences do not settle."],
    )
    for room, text, letters, modes in results["retape"]:
        for mode, words in modes.items():
            if words != "right":
                say(f"  {room}: {json.dumps(text)} [{letters}] {mode}: {words}")


if __name__ == "__main__":
    cells.answer(cell)
