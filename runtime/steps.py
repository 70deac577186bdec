"""The steps back of the commonest calls, as the fast recorders note them: each adds its shares to the cotangents by slot.

A step is ``step(g, sums, first, second, third, fourth)``: the cotangent of the call's output, the cotangents so far, and the
four entries of data that stand behind it on the trail. `Trail.pull` carries out the first of these without a call.
"""

from __future__ import annotations

from typing import Any


def same(g: Any, sums: dict, slot: int, *_: Any) -> None:
    """Hand the cotangent on."""
    sums[slot] = sums[slot] + g if slot in sums else g


def both(g: Any, sums: dict, first: int, second: int, *_: Any) -> None:
    """Hand the cotangent on to the two inputs of a sum."""
    sums[first] = sums[first] + g if first in sums else g
    sums[second] = sums[second] + g if second in sums else g


def scaled(g: Any, sums: dict, slot: int, factor: Any, *_: Any) -> None:
    """Multiply by the other factor of a product, or by a partial derivative that is there."""
    share = g * factor
    sums[slot] = sums[slot] + share if slot in sums else share


def product(g: Any, sums: dict, first: int, second: int, a: Any, b: Any) -> None:
    """Multiply by the other factor of a product, for both."""
    share = g * b
    sums[first] = sums[first] + share if first in sums else share
    share = g * a
    sums[second] = sums[second] + share if second in sums else share


def by_partial(g: Any, sums: dict, slot: int, residual: Any, partial: Any, _: Any) -> None:
    """Multiply by a partial derivative, computed from one value."""
    share = g * partial(residual)
    sums[slot] = sums[slot] + share if slot in sums else share


def by_rule(g: Any, sums: dict, slot: int, residual: Any, rule: Any, _: Any) -> None:
    """Apply a rule that reads one value."""
    share = rule(g, residual)
    sums[slot] = sums[slot] + share if slot in sums else share


def by_rule_of(g: Any, sums: dict, slot: int, residuals: Any, rule: Any, _: Any) -> None:
    """Apply a rule that reads several values, or none."""
    share = rule(g, *residuals)
    sums[slot] = sums[slot] + share if slot in sums else share


def difference(g: Any, sums: dict, first: int, second: int, *_: Any) -> None:
    """Hand the cotangent on to the two inputs of a difference."""
    sums[first] = sums[first] + g if first in sums else g
    sums[second] = sums[second] - g if second in sums else -g


def negative(g: Any, sums: dict, slot: int, *_: Any) -> None:
    """Hand the negative cotangent on."""
    sums[slot] = sums[slot] - g if slot in sums else -g
