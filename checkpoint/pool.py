"""The pool: the values that may be evicted, each with its price and its age, and the choice among them.

Arrays as short as the number of its members, so that a choice costs a few passes over what is in memory, not over the
whole program. Among very many the best are listed at one pass, and the next choices are made from the list and from what
has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .rules import NEVER, Rule

_MANY = 4096
_LISTED = 64
_MOST_LISTED = 1024  # with what has changed since
_CHOICES_OF_A_LIST = 32


class Pool:
    """Members with a price (cost x weight / bytes) and an age: a position, of the next use or of the last one.

    A member that is pinned cannot be chosen. `passes` counts the members that were looked at for all choices.
    """

    def __init__(self, rule: Rule, *, has_holds: bool) -> None:
        self.rule = rule
        self.passes = 0
        self._has_holds = has_holds
        self._members: list[int] = []
        self._place: dict[int, int] = {}
        self._pinned: dict[int, float | None] = {}  # by value: its price, where it is a member
        self._prices, self._ages, self._room = (np.empty(64) for _ in range(3))
        self._listed: dict[int, None] | None = None
        self._choices_left = 0

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
        if v in self._pinned:
            self._pinned[v] = price
            price = NEVER
        self._prices[place] = price
        self._ages[place] = age
        if self._listed is not None:
            self._listed[v] = None

    def take_out(self, v: int) -> None:
        """Let a value go, if it is a member."""
        place = self._place.pop(v, -1)
        if place < 0:
            return
        if v in self._pinned:
            self._pinned[v] = None
        last = self._members.pop()
        if last != v:
            end = len(self._members)
            self._members[place] = last
            self._place[last] = place
            self._prices[place] = self._prices[end]
            self._ages[place] = self._ages[end]

    def _set_price(self, v: int, price: float) -> None:
        self._prices[self._place[v]] = price
        if self._listed is not None:
            self._listed[v] = None

    def lower_price(self, v: int, by: float, least: float) -> None:
        """Make a value cheaper, if it is a member, but not cheaper than `least`: what is too low is set right by a choice."""
        if v in self._pinned:
            before = self._pinned[v]
            if before is not None:
                self._pinned[v] = max(before - by, least)
        elif v in self._place:
            self._set_price(v, max(float(self._prices[self._place[v]]) - by, least))

    def set_age(self, v: int, age: float) -> None:
        """Give a value another age, if it is a member."""
        place = self._place.get(v, -1)
        if place >= 0:
            self._ages[place] = age
            if self._listed is not None:
                self._listed[v] = None

    def pin(self, v: int) -> bool:
        """Keep a value from being chosen, a member or not yet; return whether it was not pinned before."""
        if v in self._pinned:
            return False
        place = self._place.get(v, -1)
        if place < 0:
            self._pinned[v] = None
        else:
            self._pinned[v] = float(self._prices[place])
            self._prices[place] = NEVER
        return True

    def unpin(self, v: int) -> None:
        """Let a pinned value be chosen again."""
        price = self._pinned.pop(v)
        if price is not None:
            self._set_price(v, price)

    def pinned(self) -> Iterable[int]:
        """Return the members that are pinned, those first that have been for longest."""
        return (v for v, price in self._pinned.items() if price is not None)

    def cheapest(self, position: int, taken: int, price_now: Callable[[int], float]) -> int:
        """Return the member with the least price over its age, or -1 when all are pinned.

        Prices are renewed by `price_now` when their value comes up: evictions in between can only have raised them.
        """
        found = -1
        if len(self._members) <= _MANY:
            self._listed = None
        elif self._listed is not None and self._choices_left and len(self._listed) < _MOST_LISTED:
            self._choices_left -= 1
            members = [v for v in self._listed if v in self._place]
            places = np.array([self._place[v] for v in members], np.intp)
            found = self._cheapest(members, self._prices[places], self._ages[places], position, taken, price_now)
        if found < 0:
            if len(self._members) > _MANY:
                self._list(position, taken)
            found = self._cheapest(self._members, self._prices, self._ages, position, taken, price_now)
        return found

    def _list(self, position: int, taken: int) -> None:
        """Note the best members, to choose the next ones from."""
        count = len(self._members)
        scores = self._scores(self._prices[:count], self._ages[:count], position, taken)
        self.passes += count
        members = self._members
        self._listed = {members[k]: None for k in np.argpartition(scores, _LISTED)[:_LISTED].tolist()}
        self._choices_left = _CHOICES_OF_A_LIST

    def _cheapest(
        self,
        members: list[int],
        prices: np.ndarray,
        ages: np.ndarray,
        position: int,
        taken: int,
        price_now: Callable[[int], float],
    ) -> int:
        count = len(members)
        if not count:
            return -1
        prices, ages = prices[:count], ages[:count]
        while True:
            place = int(self._scores(prices, ages, position, taken).argmin())
            self.passes += count
            before = prices[place]
            if before == NEVER:
                return -1
            v = members[place]
            price = prices[place] = self._prices[self._place[v]] = price_now(v)
            if price <= before:
                return v

    def _scores(self, prices: np.ndarray, ages: np.ndarray, position: int, taken: int) -> np.ndarray:
        """Return prices over ages, in room that the next call uses again."""
        if self.rule.age == "none":
            return prices
        room = self._room[: len(prices)]
        if self.rule.age == "next use":
            np.subtract(ages, position - 1, out=room)
            if self._has_holds:  # one that expires now may be a step behind
                np.maximum(room, 1.0, out=room)
        else:
            np.subtract(taken + 1, ages, out=room)
        if self.rule.power != 1.0:  # two square roots take a tenth of the time of a power
            np.sqrt(room, out=room)
            if self.rule.power == 0.25:
                np.sqrt(room, out=room)
        return np.divide(prices, room, out=room)
