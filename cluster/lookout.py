"""Makes reports on workers' processes that do not answer: this machine's are looked at directly, others by an actor there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from .processes import Process, Work


class Lookout:
    """What runs on a node beside its workers, outside of their processes."""

    def work(self, processes: Mapping[int, Process]) -> dict[int, Work]:
        """What each of these processes does, by the worker's number; those that are gone are left out."""
        return works(processes)


def works(processes: Mapping[int, Process]) -> dict[int, Work]:
    """What each of these processes of this machine does, by number; those that are gone are left out."""
    return {number: work for number, process in processes.items() if (work := process.work()) is not None}


class Lookouts:
    """The driver's end: a :class:`Lookout` on each other node that has workers."""

    def __init__(self, ray: Any, here: str, spawn: Callable[[str], Any]) -> None:
        """``here`` is this process's node; ``spawn(node)`` starts a lookout on another. Nothing is started yet."""
        self._ray, self._here, self._spawn = ray, here, spawn
        self._actors: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def staff(self, nodes: set[str]) -> None:
        """Has a lookout on each of these nodes, and on no other."""
        nodes = nodes - {self._here}
        for node in nodes - self._actors.keys():
            self._actors[node] = self._spawn(node)
        for node in self._actors.keys() - nodes:
            self._ray.kill(self._actors.pop(node), no_restart=True)
            self._asked.pop(node, None)

    def look(self, by_node: Mapping[str, Mapping[int, Process]]) -> Iterator[tuple[int, Work]]:
        """What processes do, by the worker's number, as far as it is known now; of other nodes since the last call."""
        yield from works(by_node.get(self._here, {})).items()
        for node, ref in list(self._asked.items()):
            if self._ray.wait([ref], timeout=0)[0]:
                del self._asked[node]
                with suppress(self._ray.exceptions.RayError):
                    yield from self._ray.get(ref).items()
        for node, processes in by_node.items():
            if node in self._actors and node not in self._asked:
                self._asked[node] = self._actors[node].work.remote(processes)
