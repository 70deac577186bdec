"""The graph: a tape as a picture, in graphviz's language."""

from __future__ import annotations

import inspect
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import trees
from .arguments import is_differentiable_leaf
from .lines import place, source
from .listing import describe, parameters_text, size, value_text
from .recording import record
from .tape import Tape
from .text import shortened

_HEAD = """digraph tape {
  graph [fontname="Helvetica", rankdir=TB, ranksep=0.3, nodesep=0.25];
  node [fontname="Helvetica", fontsize=10, shape=box, style="filled,rounded", fillcolor="#eef3fb", color="#5b7db1"];
  edge [fontname="Helvetica", fontsize=8, color="#7f7f7f", fontcolor="#7f7f7f", arrowsize=0.6];"""
_INPUT = 'shape=ellipse, style=filled, fillcolor="#d9ead3", color="#6aa84f"'
_OUTPUT = 'shape=ellipse, style=filled, fillcolor="#fce5cd", color="#e69138"'
_CONSTANT = 'shape=note, style=filled, fillcolor="#f3f3f3", color="#999999"'
_VIEW = 'style="rounded,dashed"'
_INACTIVE = 'fillcolor="#f3f3f3", color="#999999"'
_MOST_LABEL = 48


@dataclass(frozen=True, slots=True)
class Graph:
    """A picture of a tape: `str` gives graphviz's text, `svg` draws it where graphviz is installed."""

    text: str

    def __str__(self) -> str:
        return self.text

    def svg(self, path: str | Path | None = None) -> str:
        """Return the picture as SVG, drawn by graphviz's program ``dot``, and write it to `path` if there is one.

        Raises `FileNotFoundError` where ``dot`` is not installed, and `subprocess.CalledProcessError` when it fails.
        """
        dot = shutil.which("dot")
        if dot is None:
            raise FileNotFoundError(
                "graphviz's program `dot` is not on the PATH: install graphviz, or save str(graph) and open it in any viewer "
                "of graphviz's language"
            )
        drawn = subprocess.run([dot, "-Tsvg"], input=self.text, capture_output=True, check=True, encoding="utf-8").stdout
        if path is not None:
            Path(path).write_text(drawn, encoding="utf-8")
        return drawn

    def _repr_svg_(self) -> str | None:
        return self.svg() if shutil.which("dot") else None  # what a notebook shows


def graph(program: Callable | Tape, *args: Any, by_function: bool = False) -> Graph:
    """Return the graph of ``program(*args)``, which is recorded, or of a tape that is there already.

    Boxes are ops, with parameters, shape, bytes and the user's line (its text is the tooltip); dashed ones are views, grey
    ones do not depend on an input differentiably. With `by_function`, what one function of the program does is framed.

    >>> import numpy as np, retape as rt
    >>> text = str(rt.graph(lambda x: np.sum(np.sin(x) * 2.0), np.ones(3)))
    >>> "multiply(_, 2.0)" in text, "f8[3], 24 B" in text, text.count(" -> ")
    (True, True, 4)
    """
    if isinstance(program, Tape):
        tape, names = program, [f"input {number}" for number in range(len(program.inputs))]
    else:
        tape, names = record(program, *args), _names(program, args)
    made = {output for _, _, _, output in tape.calls}.union(tape.inputs)
    groups: dict[Any, list[str]] = {}
    lines = [_HEAD]
    edges: list[str] = []
    for slot, name in zip(tape.inputs, names, strict=True):
        lines.append(f"  s{slot} [label={_quoted(name, _type(tape, slot))}, {_INPUT}];")
    constants: dict[int, str] = {}
    for (op, inputs, parameters, output), line in zip(tape.calls, tape.lines, strict=True):
        words = []
        arrays = [position for position, slot in enumerate(inputs) if slot in made or tape.dtypes[slot] is not None]
        for position, slot in enumerate(inputs):
            if position not in arrays:
                words.append(repr(tape.values[slot]))
                continue
            words.append("_")
            if slot not in made:
                constants.setdefault(slot, f"  s{slot} [label={_quoted(_constant(tape, slot))}, {_CONSTANT}];")
            name = op.inputs[min(position, len(op.inputs) - 1)] if len(arrays) > 1 else ""
            edges.append(f"  s{slot} -> s{output}{f' [label={_quoted(name)}]' if name else ''};")
        words = [*(words if len(arrays) < len(inputs) else []), *parameters_text(parameters)]
        title = shortened(f"{op.name}({', '.join(words)})" if words else op.name, _MOST_LABEL)
        tooltip = _quoted(source(line) or op.name)
        style = [f"label={_quoted(title, _type(tape, output), place(line))}", f"tooltip={tooltip}"]
        style += [_VIEW] if tape.aliases[output] >= 0 else []
        style += [] if tape.active[output] else [_INACTIVE]
        groups.setdefault(line[0] if by_function and line else None, []).append(f"s{output} [{', '.join(style)}];")
    lines += constants.values()
    for number, (code, nodes) in enumerate(groups.items()):
        if code is None:
            lines += [f"  {node}" for node in nodes]
            continue
        title = _quoted(f"{code.co_name}, {place((code, code.co_firstlineno))}")
        lines.append(f'  subgraph cluster_{number} {{\n    label={title}; fontsize=10; color="#bbbbbb";')
        lines += [f"    {node}" for node in nodes]
        lines.append("  }")
    lines += edges
    for number, slot in enumerate(tape.outputs):
        name = "output" if len(tape.outputs) == 1 else f"output {number}"
        lines.append(f"  o{number} [label={_quoted(name)}, {_OUTPUT}];\n  s{slot} -> o{number};")
    return Graph("\n".join([*lines, "}"]) + "\n")


def _type(tape: Tape, slot: int) -> str:
    return f"{describe(tape.shapes[slot], tape.dtypes[slot])}, {size(tape, slot)}"


def _constant(tape: Tape, slot: int) -> str:
    value = tape.values[slot]
    return value_text(value) if getattr(value, "size", 9) <= 4 else f"constant\n{_type(tape, slot)}"


def _names(f: Callable, args: tuple) -> list[str]:
    """Return what the recorded leaves of the arguments are called, such as ``params['w'][0]``."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    words = [parameter.name for parameter in parameters if parameter.kind in kinds]
    found = []
    for number, arg in enumerate(args):
        word = words[number] if number < len(words) else f"argument {number}"
        paths, leaves, _ = trees.flatten_with_paths(arg)
        found += [word + path for path, leaf in zip(paths, leaves, strict=True) if is_differentiable_leaf(leaf)]
    return found


def _quoted(*lines: str) -> str:
    text = "\n".join(line for line in lines if line)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
