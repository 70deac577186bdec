"""Makes values from the texts of the command line, or the reason why a text is none."""

from argparse import ArgumentTypeError
from reprlib import repr as shown

from ..checkpoint.units import parse_bytes


def count(text: str) -> int:
    """A whole number of 1 or more."""
    value = _integer(text)
    if value is None or value < 1:
        raise ArgumentTypeError(f"{shown(text)} is not a whole number of 1 or more")
    return value


def whole(text: str) -> int:
    """A whole number of 0 or more."""
    value = _integer(text)
    if value is None or value < 0:
        raise ArgumentTypeError(f"{shown(text)} is not a whole number of 0 or more")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """A finite number of 0 or more."""
    value = _number(text)
    if not 0.0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def bound(text: str) -> float | str:
    """A finite number above 0, or "none" for no bound."""
    return text if text == "none" else positive(text)


def microbatch(text: str) -> int | str:
    """A whole number of 1 or more, or "auto"."""
    return text if text == "auto" else count(text)


def size(text: str) -> int:
    """Bytes: a whole number, or a size such as "64MiB"."""
    try:
        return parse_bytes(text, name="size")
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def size_or_none(text: str) -> int:
    """A size, or 0."""
    return 0 if text.strip() == "0" else size(text)


def budget(text: str) -> str:
    """ "auto", or a text that :func:`resolve_budget` takes."""
    if text == "auto":
        return text
    try:
        resolve_budget(text, 1 << 62)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def resolve_budget(text: str, unbudgeted_bytes: int) -> int:
    """Bytes of a budget: "40%" of ``unbudgeted_bytes``, or a size such as "64MiB". Raises ``ValueError``."""
    if text.endswith("%"):
        try:
            share = float(text[:-1]) / 100.0
        except ValueError:
            share = 0.0
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the memory budget {text!r} is not a percentage above 0% and up to 100%")
        return int(unbudgeted_bytes * share)
    return parse_bytes(text)


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
