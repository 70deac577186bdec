"""The pool: the values that may be evicted, each with its price and its age, and the choice among them.

Arrays as short as the number of its members, so that a choice costs a few passes over what is in memory, not over the
whole program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .rules import NEVER, Rule


class Pool:
    """Members with a price (cost x weight / bytes) and an age: a position, of the next use or of the last one."""

    def __init__(self, rule: Rule, *, has_holds: bool) -> None:
        self.rule = rule
        self._has_holds = has_holds
        self._members: list[int] = []
        self._place: dict[int, int] = {}
        self._prices, self._ages, self._room = (np.empty(64) for _ in range(3))

    def __contains__(self, v: int) -> bool:
        return v in self._place

    def put(self, v: int, price: float, age: float) -> None:
        """Take in a value, or give a member another price and age."""
        place = self._place.setdefault(v, len(self._members))
        if place == len(self._members):
            self._members.append(v)
            if place == len(self._prices):
                self._prices, self._ages = (np.concatenate([old, np.empty(place)]) for old in (self._prices, self._ages))
                self._room = np.empty(2 * place)
        self._prices[place] = price
        self._ages[place] = age

    def take_out(self, v: int) -> None:
        """Let a value go, if it is a member."""
        place = self._place.pop(v, -1)
        if place < 0:
            return
        last = self._members.pop()
        if last != v:
            end = len(self._members)
            self._members[place] = last
            self._place[last] = place
            self._prices[place] = self._prices[end]
            self._ages[place] = self._ages[end]

    def set_price(self, v: int, price: float) -> None:
        """Give a member another price."""
        self._prices[self._place[v]] = price

    def set_age(self, v: int, age: float) -> None:
        """Give a value another age, if it is a member."""
        place = self._place.get(v, -1)
        if place >= 0:
            self._ages[place] = age

    def lock(self, values: Iterable[int]) -> dict[int, float]:
        """Make members unaffordable and return their prices, for `unlock`."""
        prices = {}
        for v in values:
            place = self._place.get(v, -1)
            if place >= 0:
                prices[v] = float(self._prices[place])
                self._prices[place] = NEVER
        return prices

    def unlock(self, prices: dict[int, float]) -> None:
        """Give those that are still members their prices back."""
        for v, price in prices.items():
            if v in self._place:
                self.set_price(v, price)

    def cheapest(self, position: int, taken: int, price_now: Callable[[int], float]) -> int:
        """Return the member with the least price over its age, or -1 when all are locked.

        Prices are renewed by `price_now` when their value comes up: evictions in between can only have raised them.
        """
        count = len(self._members)
        if not count:
            return -1
        prices, room = self._prices[:count], self._room[:count]
        power = self.rule.power
        while True:
            if self.rule.age == "none":
                place = int(prices.argmin())
            else:
                if self.rule.age == "next use":
                    np.subtract(self._ages[:count], position - 1, out=room)
                    if self._has_holds:  # one that expires now may be a step behind
                        np.maximum(room, 1.0, out=room)
                else:
                    np.subtract(taken + 1, self._ages[:count], out=room)
                if power != 1.0:  # two square roots take a tenth of the time of a power
                    np.sqrt(room, out=room)
                    if power == 0.25:
                        np.sqrt(room, out=room)
                np.divide(prices, room, out=room)
                place = int(room.argmin())
            before = prices[place]
            if before == NEVER:
                return -1
            price = prices[place] = price_now(self._members[place])
            if price <= before:
                return self._members[place]
