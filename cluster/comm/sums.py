"""Makes the order in which shards are summed, a fixed binary tree, from the number of shards alone.

A global batch is cut into ``shards`` logical shards. Their gradients are added along a tree that does not know the workers:
a worker adds up whole subtrees of its own run of shards, and the reducers add up the rest of the tree. Floating-point
addition is not associative, but a tree is a fixed association: the sum has the same bits for any number of workers, any cut
into runs, and any timing. With a balanced tree the rounding error grows with log(shards) (Higham, "The accuracy of floating
point summation", 1993). All of this is plain data; arrays are added elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Run = tuple[int, int]  # shards from the first number to the one before the second
# The number of a source, or a pair of expressions to add.
Expression = Any
Split = Callable[[int, int], int]


def balanced(start: int, end: int) -> int:
    """Where the balanced tree cuts the shards ``start`` to ``end``: the left part is the largest power of two below all.

    >>> balanced(0, 8), balanced(0, 6), balanced(4, 6)
    (4, 4, 5)
    """
    return start + (1 << (end - start - 1).bit_length() - 1)


def in_turn(start: int, end: int) -> int:
    """Where the tree of one-after-the-other addition cuts: before the last shard."""
    return end - 1


def even_runs(shards: int, workers: int) -> tuple[Run, ...]:
    """A contiguous run of shards for each worker; the runs differ by one shard at most.

    >>> even_runs(8, 3)
    ((0, 2), (2, 5), (5, 8))
    """
    return tuple((shards * rank // workers, shards * (rank + 1) // workers) for rank in range(workers))


def subtrees(run: Run, shards: int, split: Split = balanced) -> tuple[Run, ...]:
    """The fewest whole subtrees that make up ``run``: what can be added up without the shards of others.

    >>> subtrees((0, 4), 8), subtrees((2, 5), 8)
    (((0, 4),), ((2, 4), (4, 5)))
    """
    found: list[Run] = []

    def visit(start: int, end: int) -> None:
        if run[0] <= start and end <= run[1]:
            found.append((start, end))
        elif start < run[1] and run[0] < end:
            middle = split(start, end)
            visit(start, middle)
            visit(middle, end)

    visit(0, shards)
    return tuple(found)


def expression(tree: Run, sources: Mapping[Run, int], split: Split = balanced) -> Expression:
    """How the sum over ``tree`` is added up from ``sources``, subtrees by number: nested pairs.

    >>> expression((0, 4), {(0, 2): 0, (2, 3): 1, (3, 4): 2})
    (0, (1, 2))
    """
    if tree in sources:
        return sources[tree]
    if tree[1] - tree[0] == 1:
        raise ValueError(f"shard {tree[0]} is in none of the subtrees {sorted(sources)}")
    middle = split(*tree)
    return expression((tree[0], middle), sources, split), expression((middle, tree[1]), sources, split)


@dataclass(frozen=True)
class Put:
    """What a worker does with the gradient of ``shard``: writes it into ``slot``, or adds it to what is there, and then adds
    up pairs of slots, ``(into, from)``."""

    shard: int
    slot: int
    is_first: bool
    merges: tuple[tuple[int, int], ...]


def puts(run: Run, shards: int, split: Split = balanced) -> tuple[Put, ...]:
    """What a worker does with each gradient of its run; after the last one, slot i holds the i-th of its subtrees.

    >>> [(put.slot, put.is_first, put.merges) for put in puts((0, 4), 4)]
    [(0, True, ()), (0, False, ()), (1, True, ()), (1, False, ((0, 1),))]
    """
    made: list[Put] = []

    def visit(start: int, end: int, slot: int) -> None:
        """Leaves the sum over start..end in ``slot``."""
        if end - start == 1:
            made.append(Put(start, slot, True, ()))
            return
        middle = split(start, end)
        visit(start, middle, slot)
        if end - middle == 1:
            made.append(Put(middle, slot, False, ()))
            return
        visit(middle, end, slot + 1)
        last = made[-1]
        made[-1] = Put(last.shard, last.slot, last.is_first, (*last.merges, (slot, slot + 1)))

    for number, (start, end) in enumerate(subtrees(run, shards, split)):
        visit(start, end, number)
    return tuple(made)


def slot_count(runs: Sequence[Run], shards: int, split: Split = balanced) -> int:
    """The most slots that any worker needs for its run."""
    return max(put.slot for run in runs for put in puts(run, shards, split)) + 1
