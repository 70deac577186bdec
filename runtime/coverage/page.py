"""The page of what is covered, in Markdown, made from the table's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from .reasons import COMPOSED, CONSTANT, NOT_APPLICABLE, NOT_DIFFERENTIABLE, RULE, UNKNOWN
from .table import UFUNC_METHODS, Entry

KINDS = (RULE, COMPOSED, CONSTANT, NOT_DIFFERENTIABLE, NOT_APPLICABLE)

_OPENING = """\
# What of NumPy is differentiated

Made from the code by `make docs`, for NumPy {version}; the tests see to it that it is true.

What becomes of a function, a method or an attribute of NumPy when it meets a traced array is one of these.

- **rule**: it is an op, or made with one or more of its own; the op stands beside its rule.
- **composed**: it is made of functions that have one.
- **piecewise constant**: what it returns does not move with its arguments (indices, truths, whole numbers, shapes), so the
  gradient through it is zero, and that is right.
- **not differentiable**: it raises, for a gradient would be lost.
- **not applicable**: there is no derivative to speak of (text, dates, records, files, whole numbers).

{counts}

Whatever is not supported raises `MissingRuleError` or `NotDifferentiableError` and names a way round.
"""

_SECTIONS = {
    "Ufuncs": """\
Every one takes `out=` (a traced array, or a plain one where no gradient would be lost), `where=`, `dtype=`, `casting=`,
`order=`, `subok=` and `signature=`; products take `axes=`, `axis=` and `keepdims=` besides. Where a mask leaves elements out
and no `out=` is given, they are 0 (NumPy leaves them as memory happened to be).
""",
    "Array functions": """\
Those with `like=` are handed over as two objects of one name, and stand here once. NumPy does not look at `initial=`,
`mean=` and `default=` when it asks who is to answer a call: a traced value there needs a traced array beside it, and raises
otherwise.
""",
    "Methods and attributes of ndarray": "",
    "Methods of ufuncs": """\
`reduce` takes `axis=`, `dtype=`, `out=`, `keepdims=`, `initial=` and `where=`; `accumulate` and `reduceat` take `axis=`,
`dtype=` and `out=`; `outer` takes what the ufunc does; `at` writes again for each time that an index is named.
""",
}


def page(sections: dict[str, list[Entry]]) -> str:
    """Return the page. Raises `ValueError` for a row of no known kind."""
    unknown = [row.name for rows in sections.values() for row in rows if row.kind == UNKNOWN]
    if unknown:
        raise ValueError(f"not classified: {', '.join(unknown)}")
    version = ".".join(np.__version__.split(".")[:2])
    parts = [_OPENING.format(version=version, counts=counts(sections))]
    for title, rows in sections.items():
        parts += [f"## {title}\n", _SECTIONS[title]]
        if title == "Methods of ufuncs":
            parts.append(_by_method(rows))
            continue
        parts.append(_table(row for row in rows if row.kind != NOT_APPLICABLE))
        parts.append(_lists([row for row in rows if row.kind == NOT_APPLICABLE]))
    return "\n".join(part for part in parts if part)


def counts(sections: dict[str, list[Entry]]) -> str:
    """Return the table of how many rows there are of each kind."""
    lines = [f"| | {' | '.join(KINDS)} | forms tested |", f"|---|{'---:|' * (len(KINDS) + 1)}"]
    for title, rows in sections.items():
        number = Counter(row.kind for row in rows)
        tested = sum(len(row.forms) for row in rows)
        lines.append(f"| {title} ({len(rows)}) | {' | '.join(str(number[kind]) for kind in KINDS)} | {tested} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(name: str) -> str:
    return name.removeprefix("numpy.").removeprefix("ndarray.")


def _table(rows: Iterable[Entry]) -> str:
    lines = ["| name | kind | keywords | forms tested |", "|---|---|---|---|"]
    for row in rows:
        kind = f"{row.kind}: {row.reason}" if row.reason else row.kind
        if row.ops and row.ops != (_shown(row.name),):
            kind += f" ({_code(row.ops)})"
        taken = [_code(row.keywords)] if row.keywords else []
        taken += [f"not `{form}` ({why})" for form, why in row.refused.items()]
        lines.append(f"| `{_shown(row.name)}` | {kind} | {_cell('; '.join(taken))} | {_cell('; '.join(row.forms))} |")
    return "\n".join(lines) + "\n"


def _lists(rows: list[Entry]) -> str:
    lines = [
        f"- {reason}: {_code(_shown(row.name) for row in rows if row.reason == reason)}"
        for reason in dict.fromkeys(row.reason for row in rows)
    ]
    return "Not applicable, and why:\n\n" + "\n".join(lines) + "\n"


def _by_method(rows: list[Entry]) -> str:
    kinds = (RULE, COMPOSED, CONSTANT, NOT_DIFFERENTIABLE)
    lines = [f"| method | {' | '.join(kinds)} | forms tested |", f"|---|{'---|' * len(kinds)}---:|"]
    for method in UFUNC_METHODS:
        own = [row for row in rows if row.name.endswith(f".{method}")]
        names = [_code(_shown(row.name.removesuffix(f".{method}")) for row in own if row.kind == kind) for kind in kinds]
        lines.append(f"| `{method}` | {' | '.join(names)} | {sum(len(row.forms) for row in own)} |")
    return "\n".join(lines) + "\n"
