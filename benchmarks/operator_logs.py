"""Reads operator logs of whole training steps (simrd's JSON lines) as programs for planners.

The format is that of the simulator of Kirisame et al. 2021 (github.com/uwsampl/dtr-prototype, folder simrd): one JSON object
a line, CALL with its results' MEMORY and ALIAS lines behind it, MUTATE, CONSTANT, COPY, COPY_FROM, RELEASE, ANNOTATE. An
aliased result is no value of its own; a call of several results becomes as many values, each at its share of the time; a
mutation makes new values; constants are held throughout; what is never released must be there at the end. The forward sweep
ends at the annotation BACKWARD, or without one at the first call with that word in its name.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from retape.checkpoint.program import Program


def read_log(path: Path) -> Program:
    """Return the program of one log, from its START annotation on where it has one."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    starts = [k for k, line in enumerate(lines) if line.get("ANNOTATION") == "START"]
    rest = iter(lines[starts[0] + 1 :] if starts else lines)
    is_marked = any(line.get("ANNOTATION") == "BACKWARD" for line in lines)
    program = Program()
    value: dict[str, int] = {}  # -1 for constants
    names: dict[str, bool] = {}  # whether they are still held
    held_bytes = forward = 0

    def add_all(sizes: list[int], line: dict) -> list[int]:
        inputs = tuple(dict.fromkeys(value[name] for name in line["ARGS"] if value[name] >= 0))
        share = float(line["TIME"]) / max(len(sizes), 1)
        return [program.add(size, inputs, cost=share, label=line["NAME"]) for size in sizes]

    for line in rest:
        kind = line["INSTRUCTION"]
        if not forward and (line.get("ANNOTATION") == "BACKWARD" or not is_marked and "backward" in line.get("NAME", "")):
            forward = len(program)
        if kind == "CONSTANT":
            held_bytes += int(next(rest)["MEMORY"])
            value[line["NAME"]], names[line["NAME"]] = -1, True
        elif kind in ("COPY", "COPY_FROM"):
            value[line["DST"]], names[line["DST"]] = value[line["SRC"]], True
        elif kind == "RELEASE":
            names[line["NAME"]] = False
        elif kind == "CALL":
            arguments = [value[name] for name in line["ARGS"]]
            results = [(name, int(next(rest)["MEMORY"]), int(next(rest)["ALIAS"])) for name in line["RESULT"]]
            made = iter(add_all([size for _, size, alias in results if alias < 0], line))
            for name, _, alias in results:
                value[name], names[name] = (next(made) if alias < 0 else arguments[alias]), True
        elif kind == "MUTATE":
            changed = [line["ARGS"][k] for k in line["MUTATE"]]
            sizes = [program.sizes[value[name]] if value[name] >= 0 else 0 for name in changed]
            value.update(zip(changed, add_all(sizes, line), strict=True))
    outputs = tuple(dict.fromkeys(value[name] for name, is_held in names.items() if is_held and value[name] >= 0))
    return replace(program, outputs=outputs, forward=forward or len(program), held_bytes=held_bytes)
