"""Judges a library on a probe in every mode: right, wrong without a word, or an error."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import probes
from differences import LAYOUTS, loss
from libraries import Library

_SECONDS = 20
MODES = ("reverse", "forward", "second", "forward of reverse", "reverse of forward", "budget", "single", "strided") + LAYOUTS


def judge(library: Library, text: str, letters: str, known: dict[str, Any]) -> dict[str, str]:
    """Return an outcome per mode: "right", "WRONG: ..." or "raises ..."; `known` is the probe's reference."""
    count = len(letters)
    f = loss(text, library.program_numpy, library.loss_numpy)

    def fresh(form: str = "plain") -> list:
        return [library.leaf(arg) for arg in probes.arguments(letters, form)]

    def along(directions: list, gradients: Any) -> Any:
        xp = library.loss_numpy
        return sum(xp.sum(xp.real(g * library.leaf(d))) for g, d in zip(gradients, directions, strict=True))

    def bent(found: Any) -> str:
        return "right" if _close(found, known["second"], 1e-3) else f"WRONG: {_brief(found)}, not {_brief(known['second'])}"

    def compared(gradients: Any, wanted: list, tolerance: float, form: str = "plain") -> str:
        for which, (g, w, arg) in enumerate(zip(gradients, wanted, probes.arguments(letters, form), strict=True)):
            if not _close(g, w, tolerance):
                return f"WRONG: argument {which}: {_brief(g)}, not {_brief(w)}"
            if np.asarray(g).dtype != np.result_type(arg):
                return f"WRONG: argument {which}: dtype {np.asarray(g).dtype}"
        return "right"

    def reverse() -> str:
        return compared(library.gradient(f, count)(*fresh()), known["gradients"], 1e-5)

    def forward() -> str:
        tangent = library.forward(f, fresh(), [library.leaf(np.asarray(d)) for d in known["u"]])
        wanted = sum(np.sum(np.real(g * d)) for g, d in zip(known["gradients"], known["u"], strict=True))
        return "right" if _close(tangent, wanted, 1e-5) else f"WRONG: {_brief(tangent)}, not {_brief(wanted)}"

    def second() -> str:
        inner = library.gradient(f, count)
        gradients = library.gradient(lambda *args: along(known["v"], inner(*args)), count)(*fresh())
        return bent(along(known["u"], gradients))

    def forward_of_reverse() -> str:
        inner = library.gradient(f, count)
        return bent(
            library.forward(lambda *args: along(known["v"], inner(*args)), fresh(), [np.asarray(d) for d in known["u"]])
        )

    def reverse_of_forward() -> str:
        directions = [np.asarray(d) for d in known["v"]]
        gradients = library.gradient(lambda *args: library.forward(f, args, directions), count)(*fresh())
        return bent(along(known["u"], gradients))

    def budget() -> str:
        plain = library.gradient(f, count)(*fresh())
        planned = library.budgeted(f, count)
        for sight in ("first", "second"):
            for a, b in zip(plain, planned(*fresh()), strict=True):
                if not np.array_equal(a, b, equal_nan=True):
                    return f"WRONG: other bits under a budget, {sight} call"
        return "right"

    def single() -> str:
        seen: list = []
        watched = loss(text, np, np, seen)
        watched(*probes.arguments(letters, "single"))
        plain = list(seen)
        gradients = library.gradient(watched, count)(*fresh("single"))
        if seen[len(plain) :] != plain:
            return f"WRONG: outputs of {seen[len(plain) :]}, not {plain}"
        return compared(gradients, known["gradients"], 5e-2, "single")

    def strided() -> str:
        return compared(library.gradient(f, count)(*fresh("strided")), known["strided"], 1e-5)

    def laid_out(form: str) -> str:
        wanted, slope = known["layouts"][form]
        value, gradients = library.value_and_gradient(f, count)(*fresh(form))
        found = along(known["u"], gradients)
        if not _close(value, wanted, 1e-9):
            return f"WRONG: value {_brief(value)}, not {_brief(wanted)}"
        return "right" if _close(found, slope, 1e-5) else f"WRONG: along u {_brief(found)}, not {_brief(slope)}"

    modes: dict[str, Callable[[], str]] = {"reverse": reverse, "forward": forward}
    if known["second"] is not None:
        modes["second"] = second
    if library.is_own:
        modes["budget"] = budget
        if known["single"]:
            modes["single"] = single
        if known["second"] is not None:
            modes |= {"forward of reverse": forward_of_reverse, "reverse of forward": reverse_of_forward}
        if known["strided"] is not None:
            modes["strided"] = strided
        modes |= {form: lambda form=form: laid_out(form) for form in known["layouts"]}
    return {mode: _guarded(run) for mode, run in modes.items()}


def shorten(message: str) -> str:
    """An error's message on one line, without the advice that every missing rule gives."""
    message = " ".join(message.split()).replace("retape.runtime.errors.", "")
    for advice in (" (conversion to a plain array", ": stay with NumPy", ". Compose it of"):
        message = message.partition(advice)[0]
    return message[:200]


def _close(found: Any, wanted: Any, tolerance: float) -> bool:
    found = np.asarray(found)
    return found.shape == np.shape(wanted) and bool(np.all(np.abs(found - wanted) <= tolerance * (1 + np.abs(wanted))))


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
