"""Makes the table of what each library does with each probe: the right derivative, an error, or a wrong one without a word.

The judge is plain NumPy alone: differences of fourth order of the program's value give the gradient, mixed differences
the second derivative along two directions. A probe whose differences do not settle (a jump, a nan) has no reference and
is left out. Each library runs in a process of its own.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import cells
import numpy as np
import probes
import random_writes
from differences import reference
from judging import MODES, judge
from libraries import NAMES, NEEDS, Library


def _is_wrong(library: Library, text: str, letters: str) -> bool:
    known = reference(text, letters)
    return known is not None and any(words.startswith("WRONG") for words in judge(library, text, letters, known).values())


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Judge one library on the probes whose text holds ``match``, or on ``random`` programs of views and writes."""
    warnings.simplefilter("ignore")
    library = Library(spec["library"])
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
    wanted = ["retape", "retape_patched", *(name for name, package in NEEDS.items() if peers and cells.installed(package))]
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
        say(f"{NAMES[spec['library']]} ended with status {done.returncode}: {done.stderr[-1000:]}")
        return []
    return json.loads(done.stdout.splitlines()[-1])["outcomes"]


def _show(title: str, results: dict[str, list], say: Any, make_table: Any) -> None:
    rows = []
    for name, outcomes in results.items():
        for mode in MODES:
            found = [modes[mode] for *_, modes in outcomes if mode in modes]
            if found:
                counted = collections.Counter(words.split()[0].rstrip(":") for words in found)
                counts = [str(counted[key]) for key in ("right", "raises", "WRONG")]
                rows.append([NAMES[name], mode, str(len(found)), *counts, f"{100 * counted['right'] / len(found):.1f} %"])
    without = sum("reference" in modes for *_, modes in results["retape"])
    make_table(
        title,
        ["library", "mode", "programs", "right", "raises", "WRONG", "share right"],
        rows,
        texts=2,
        notes=[f"{without} more have no reference: their differences do not settle."],
    )
    for room, text, letters, modes in results["retape"]:
        _list(f"{room}: {json.dumps(text)} [{letters}]", modes, say)
    if "retape_patched" in results:
        say("  Under retape.patch(), other than that:")
        for (room, text, letters, modes), (*_, before) in zip(results["retape_patched"], results["retape"], strict=True):
            other = {mode: words for mode, words in modes.items() if words != before.get(mode)}
            _list(f"{room}: {json.dumps(text)} [{letters}]", other, say)


def _list(program: str, modes: dict[str, str], say: Any) -> None:
    by_words: dict[str, list[str]] = {}
    for mode, words in modes.items():
        if words != "right":
            by_words.setdefault(words, []).append(mode)
    for words, alike in by_words.items():
        say(f"  {program} {', '.join(alike)}: {words}")


if __name__ == "__main__":
    cells.answer(cell)
