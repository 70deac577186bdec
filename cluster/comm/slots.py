"""Makes the arrangement of a node's shared memory, which sum lies in which of its slots, from who works together.

The slots of the node's ranks come first, as many for each as the rank with the most needs. Behind them lie the result (which
a worker alone has in its only slot), this node's partial sums where other nodes want them, and what all workers share.
"""

from dataclasses import dataclass

from .formation import Formation
from .sums import Expression, Run, expression, slot_count, subtrees


@dataclass(frozen=True)
class Slots:
    """``each`` rank has so many slots, and ``extra`` ones lie behind them; those that are named hold, counted over all slots:

    ``result`` the sum over all nodes, ``sources`` the subtrees that this node's ranks add up by themselves, ``shared`` what
    the caller wants. ``partials`` are this node's own sums, each made of the sources (or one of them as it is) in a slot.
    """

    each: int
    extra: int
    result: int
    sources: tuple[int, ...]
    partials: tuple[tuple[Expression, int], ...]
    shared: tuple[int, ...]

    @staticmethod
    def of(formation: Formation, node: int, *, shared: int = 0) -> "Slots":
        """The arrangement on ``node``, with so many ``shared`` slots.

        >>> Slots.of(Formation("", 1, shards=4, nodes=(2,)), 0)
        Slots(each=1, extra=1, result=2, sources=(0, 1), partials=(((0, 1), 2),), shared=())
        """
        shards, split = formation.shards, formation.split
        first, local_world = formation.first_rank(node), formation.nodes[node]
        runs = formation.runs[first : first + local_world]
        each = slot_count(runs, shards, split)
        at: dict[Run, int] = {}
        sources = []
        for local, run in enumerate(runs):
            for number, tree in enumerate(subtrees(run, shards, split)):
                at[tree] = len(sources)
                sources.append(local * each + number)
        trees = formation.node_trees[node]
        made = [expression(tree, at, split) for tree in trees]
        behind = local_world * each
        result = 0 if formation.world == 1 else behind
        if len(formation.nodes) > 1:
            partials = [(total, sources[total] if isinstance(total, int) else behind + 1 + n) for n, total in enumerate(made)]
            taken = 1 + len(trees)
        else:
            partials = [(made[0], result)]
            taken = 0 if formation.world == 1 else 1
        places = tuple(range(behind + taken, behind + taken + shared))
        return Slots(each, taken + shared, result, tuple(sources), tuple(partials), places)
