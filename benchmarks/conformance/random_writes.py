"""Makes random programs of views and writes: what a name shows after which write is where libraries go wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import probes

_VIEWS = [
    "{a}[1:]", "{a}[::2]", "{a}[::-1]", "{a}[..., 1:]", "{a}[None]", "{a}[0]", "{a}[-1]", "{a}[..., 0]", "{a}.T",
    "{a}.reshape(-1)", "{a}.ravel()", "{a}.reshape(2, -1)", "np.swapaxes({a}, 0, -1)", "np.transpose({a})",
    "np.expand_dims({a}, -1)", "np.squeeze({a})", "np.atleast_2d({a})", "np.split({a}, 2)[1]", "np.moveaxis({a}, 0, -1)",
    "np.flip({a})", "np.rot90({a})", "{a}[:, 1]", "{a}[...]", "{a}[[0, 1]]", "{a}[{a} > 0.5]", "{a}.copy()", "np.sin({a})",
    "{a} * 1.1", "{a}.flatten()", "{a}[1]", "np.ravel({a}, order='F')", "np.reshape({a}, -1, order='F')",
    "np.diagonal({a}).copy()", "{a}.view()", "np.broadcast_to({a}, (2, *{a}.shape)) * 1.0", "{a}.swapaxes(0, 1)",
    "np.array_split({a}, 3)[0]", "{a}[1:, ::2]", "{a}[0:1]", "{a} + {b}", "{a} * {b}", "{a} / (1.5 + {b} ** 2)",
    "np.tanh({a})", "np.exp(0.2 * {a})", "np.maximum({a}, {b})", "{a} @ {b}", "np.sort({a}, axis=0)", "{a}.squeeze()",
    "{a}.astype(float)", "{a}.astype(float, copy=False)", "np.take({a}, [0, 0], axis=0)",
]  # fmt: skip
_WRITES = [
    "{a}[...] = 0.7", "{a}[0] = {b}.sum()", "{a}[1:] = {a}[:-1]", "{a}[:-1] += {a}[1:]", "{a} += {b}.mean()", "{a} *= 0.9",
    "{a} *= {b}", "{a}[1:] *= {a}[:-1]", "np.tanh({a}, out={a})", "np.multiply({a}, {b}, out={a})", "{a} /= 1.5 + {b} ** 2",
    "np.exp(0.1 * {a}, out={a})", "{a} -= {b}", "{a} += {b}", "{a}[::2] = {b}[::2]", "{a}[{a} > 0] *= 0.8",
    "{a}[{a} < 0] = {b}.sum()", "np.add.at({a}, [0, 0, 1], 0.3)", "np.multiply({a}, 0.7, out={a})", "np.sin({a}, out={a})",
    "np.copyto({a}, {b})", "{a}.sort()", "{a}.fill(0.4)", "{a}.fill({b}.sum())", "np.fill_diagonal({a}, 0.3)",
    "np.put({a}, [0, 2], {b}.mean())", "{a}[0], {a}[1] = {a}[1], {a}[0]", "{a}[[0, 1]] = {a}[[1, 0]]",
    "{a}[-1] = {a}[0] * {b}.sum()", "{a}[..., 0] = 1.2", "{a}[:, 1] = {b}.sum()", "{a}[[0, 1]] += 0.5", "{a}[0] *= {a}[1]",
    "{a}[0][...] = 0.2", "{a}.T[0] = 0.6", "{a}.reshape(-1)[1] = {b}.max()", "{a}.ravel()[0] = 0.1",
    "np.add({a}, {b}, out={a})", "{a} **= 2", "{a} /= 1.5", "{a}[:] = {b}", "{a}[()] = {a}[::-1]",
    "np.cumsum({a}, axis=0, out={a})", "{a}[1], {a}[0] = {a}[0], {a}[1]", "np.clip({a}, -1.0, 1.0, out={a})",
    "for row in {a}: row *= 1.2", "{a}[0] += {a}[0]", "{a}[0, 1:] = {a}[0, :-1]", "{a} = {a} * 1.0",
    "np.putmask({a}, {a} > 0, {b}.sum())", "{a}.partition(1)", "{a}.flat[1] = {b}.sum()", "np.place({a}, {a} > 0.3, [0.2])",
]  # fmt: skip


def programs(count: int, seed: int) -> list[tuple[str, str]]:
    """Return ``(text, arguments)`` of programs that plain NumPy runs and whose outputs are finite."""
    generator = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    while len(found) < count:
        letters = str(generator.choice(["ma", "vw", "km", "tm", "cC", "de"]))
        lines, names = [], ["x", "y"]
        for _ in range(int(generator.integers(3, 9))):
            a, b = (str(generator.choice(names)) for _ in "ab")
            if generator.random() < 0.45:
                line = f"v{len(names)} = " + str(generator.choice(_VIEWS)).format(a=a, b=b)
            else:
                line = str(generator.choice(_WRITES)).format(a=a, b=b)
            if _runs([*lines, line, "return x"], letters):
                lines.append(line)
                if line.startswith("v") and " = " in line and line.split()[0] == f"v{len(names)}":
                    names.append(line.split()[0])
        text = "\n".join([*lines, f"return [{', '.join(f'np.sin({name})' for name in names)}]"])
        if len(lines) > 2 and _runs(text.splitlines(), letters):
            found.append((text, letters))
    return found


def shrunk(text: str, letters: str, is_wrong: Callable[[str], bool]) -> str:
    """Return the program without the lines that its fault does not need."""
    lines = text.splitlines()
    position = 0
    while position < len(lines) - 1:
        fewer = [*lines[:position], *lines[position + 1 :]]
        made = {"x", "y"} | {line.split()[0] for line in fewer if line.startswith("v")}
        kept = [part for part in fewer[-1][8:-1].split(", ") if part[7:-1] in made]
        fewer[-1] = f"return [{', '.join(kept)}]"
        if _runs(fewer, letters) and is_wrong("\n".join(fewer)):
            lines = fewer
        else:
            position += 1
    return "\n".join(lines)


def _runs(lines: list[str], letters: str) -> bool:
    names = {"np": np, **probes.NAMES}
    exec(probes.source("\n".join(lines)), names)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            made = names["program"](*probes.arguments(letters))
    except Exception:  # most random lines do not fit the shapes that they meet
        return False
    return all(
        np.all(np.isfinite(part)) and np.all(np.abs(part) < 50) for part in (made if isinstance(made, list) else [made])
    )
