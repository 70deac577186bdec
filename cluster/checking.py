"""Makes plain values of settings, or errors that name the setting, its value and what it must be."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from reprlib import repr as shown
from typing import Any

from ..checkpoint.units import parse_bytes
from .errors import ConfigError


def whole(name: str, value: Any, *, least: int = 1, most: int | None = None, otherwise: str = "") -> int:
    """A whole number from ``least`` to ``most``, NumPy's included. Raises ``ConfigError`` for anything else, bools too.

    ``otherwise`` is what the setting could be besides, for the text.

    >>> whole("steps", 3)
    3
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or int(value) < least or (most is not None and int(value) > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        besides = otherwise and f", or {otherwise}"
        raise ConfigError(f"{name} is {shown(value)}; it must be a whole number, {bounds}{besides}")
    return int(value)


def real(name: str, value: Any, kind: str, is_good: Callable[[float], bool]) -> float:
    """A number that ``is_good``, which is what ``kind`` says. Raises ``ConfigError`` for anything else, texts too.

    >>> real("min_delta", 0.5, "0 or more", lambda number: number >= 0)
    0.5
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not is_good(float(value)):
        raise ConfigError(f"{name} is {shown(value)}; it must be {kind}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or False. Raises ``ConfigError`` for anything else: the text "no" would pass for true."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {shown(value)}; it must be True or False")
    return value


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """One of the ``known`` texts. Raises ``ConfigError`` for anything else."""
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{name} is {shown(value)}; the known ones are {', '.join(known)}")
    return value


def function(name: str, value: Any, arguments: str) -> None:
    """Raises ``ConfigError`` unless ``value`` can be called, with these ``arguments``."""
    if not callable(value):
        raise ConfigError(f"{name} is {shown(value)}; it must be a function, {name}({arguments})")


def budget(value: Any) -> int:
    """The bytes of a memory budget: a number, or a text such as "512MiB". Raises ``ConfigError`` for anything else."""
    try:
        return parse_bytes(int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def nearest(name: str, known: Sequence[str]) -> str:
    """What to say to a ``name`` that is not ``known``.

    >>> nearest("stepps", ["rate", "steps"]), nearest("learning_rate", ["rate", "steps"])
    ('did you mean steps?', 'did you mean rate?')
    >>> nearest("zzz", ["rate", "steps"])
    'the known ones are rate, steps'
    """
    near = get_close_matches(name, known, n=1) or [word for word in name.split("_") if word in known]
    return f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(known)}"
