"""Makes a backend of ``ray.util.collective`` from the workers' own sums: collective calls on NumPy arrays without PyTorch.

    from retape.cluster.comm.ray_backend import register
    register()  # in the driver and in every actor
    collective.init_collective_group(world_size, rank, backend="RETAPE", group_name="default")

Sums are added up in the order of the ranks, so all ranks get the bits of ``((g0 + g1) + g2) + ...``. Actors of one node
meet in shared memory, nodes over TCP. An array from :meth:`RetapeGroup.buffer` lies in shared memory and is summed without
a copy in.
"""

import pickle
import secrets
import time
from typing import Any

import numpy as np
from ray.experimental import internal_kv
from ray.util.collective.backend_registry import register_collective_backend
from ray.util.collective.collective_group.base_collective_group import BaseGroup
from ray.util.collective.types import (
    AllGatherOptions,
    AllReduceOptions,
    BarrierOptions,
    BroadcastOptions,
    ReduceOp,
    ReduceOptions,
    ReduceScatterOptions,
)

from ..engine import whereabouts
from ..errors import DeadlineError
from .formation import Formation
from .group import Group
from .layout import Layout, Span
from .mesh import listen
from .sums import in_turn

NAME = "RETAPE"
_COMBINE = {
    ReduceOp.SUM: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}
_DEADLINE_SECONDS = 120.0
_LEAST_BYTES = 2**16


def register() -> None:
    """Makes the backend "RETAPE" known to ``ray.util.collective`` in this process; does nothing the second time."""
    from ray.util.collective.backend_registry import _global_registry

    if not _global_registry.is_registered(NAME):
        register_collective_backend(NAME, RetapeGroup)


class RetapeGroup(BaseGroup):
    """One rank of a group. Every wait ends after two minutes with a ``DeadlineError`` that names who is missing."""

    def __init__(self, world_size: int, rank: int, group_name: str) -> None:
        """Meets the other ranks through Ray's key-value store. Raises ``DeadlineError``."""
        super().__init__(world_size, rank, group_name)
        node, host = whereabouts()
        self._listener = listen(host)
        address = self._listener.getsockname()[:2]
        self._token, places = _meet(group_name, world_size, rank, (node, address))
        nodes = [node for node, _ in places]
        # Ranks keep their numbers, so a node that has ranks here and there counts as several.
        starts = [number for number in range(world_size) if number == 0 or nodes[number] != nodes[number - 1]]
        self._nodes = tuple(end - start for start, end in zip(starts, [*starts[1:], world_size], strict=True))
        self._addresses = tuple(places[start][1] for start in starts) if len(starts) > 1 else ()
        self._generation = 0
        self._group: Group | None = None

    @classmethod
    def backend(cls) -> str:
        """The backend's name."""
        return NAME

    @classmethod
    def check_backend_availability(cls) -> bool:
        """It is there wherever retape is."""
        return True

    def buffer(self, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array in shared memory, one at a time; every rank must ask for the same number of bytes.

        The next call that needs more memory than this one leaves it behind.
        """
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        group = self._with_room(count * dtype.itemsize)
        return group.arena.view(group.arena.slot(group.local), Span(0, count, dtype)).reshape(shape)

    def allreduce(self, tensor: Any, allreduce_options: AllReduceOptions = AllReduceOptions()) -> None:  # noqa: B008
        """Puts the combination of all ranks' arrays into ``tensor``."""
        _array(tensor)[...] = self._reduced(tensor, _COMBINE[allreduce_options.reduceOp])

    def reduce(self, tensor: Any, reduce_options: ReduceOptions = ReduceOptions()) -> None:  # noqa: B008
        """Puts the combination of all ranks' arrays into ``tensor`` of the root."""
        made = self._reduced(tensor, _COMBINE[reduce_options.reduceOp])
        if self.rank == reduce_options.root_rank:
            _array(tensor)[...] = made

    def broadcast(self, tensor: Any, broadcast_options: BroadcastOptions = BroadcastOptions()) -> None:  # noqa: B008
        """Puts the root's array into every ``tensor``."""
        array = _array(tensor)
        mine = array if self.rank == broadcast_options.root_rank else np.zeros_like(array)
        array[...] = self._bits(mine)

    def allgather(
        self,
        tensor_list: Any,
        tensor: Any,
        allgather_options: AllGatherOptions = AllGatherOptions(),  # noqa: B008
    ) -> None:
        """Puts every rank's ``tensor`` into ``tensor_list``."""
        array = _array(tensor)
        rows = np.zeros((self.world_size, *array.shape), array.dtype)
        rows[self.rank] = array
        for place, row in zip(_unwrapped(tensor_list), self._bits(rows), strict=True):
            place[...] = row

    def reducescatter(
        self,
        tensor: Any,
        tensor_list: Any,
        reducescatter_options: ReduceScatterOptions = ReduceScatterOptions(),  # noqa: B008
    ) -> None:
        """Puts the combination of all ranks' ``tensor_list[rank]`` into ``tensor``."""
        stacked = np.stack(_unwrapped(tensor_list))
        _array(tensor)[...] = self._reduced(stacked, _COMBINE[reducescatter_options.reduceOp])[self.rank]

    def barrier(self, barrier_options: BarrierOptions = BarrierOptions()) -> None:  # noqa: B008
        """Waits for all ranks."""
        self._with_room(0).finish()

    def send(self, tensor: Any, send_options: Any) -> None:
        """Raises ``NotImplementedError``."""
        raise NotImplementedError("the RETAPE backend has no send: pass the array to the other actor as an argument")

    def recv(self, tensor: Any, recv_options: Any) -> None:
        """Raises ``NotImplementedError``."""
        raise NotImplementedError("the RETAPE backend has no recv: pass the array to this actor as an argument")

    def destroy_group(self) -> None:
        """Gives up the memory and the connections."""
        if self._group is not None:
            self._group.close()
            self._group = None
        self._listener.close()
        for key in (_key(self.group_name, "hello", self.rank), _key(self.group_name, "agreed", self.rank)):
            internal_kv._internal_kv_del(key)

    def _bits(self, array: np.ndarray) -> np.ndarray:
        """The sum of arrays of which all but one are zero, by their bits: -0.0 and NaN come through as they are."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return self._reduced(flat, np.bitwise_or).view(array.dtype).reshape(array.shape)

    def _reduced(self, tensor: Any, combine: np.ufunc) -> np.ndarray:
        """The combination of all ranks' arrays, in shared memory until the next call."""
        array = _array(tensor)
        group = self._with_room(array.nbytes)
        span = Span(0, array.size, array.dtype)
        place = group.arena.view(group.arena.slot(group.local), span).reshape(array.shape)
        if not (np.shares_memory(place, array) and place.ctypes.data == array.ctypes.data):
            np.copyto(place, array)
        group.reduce([span], combine=combine)
        group.finish()
        return group.arena.view(group.spare[0], span).reshape(array.shape)

    def _with_room(self, size: int) -> Group:
        """The group with memory for ``size`` bytes, formed anew where the present one has less."""
        group = self._group
        if group is None or group.layout.slot_bytes < size:
            if group is not None:
                size = max(size, 2 * group.layout.slot_bytes)
                group.close()
            self._generation += 1
            formation = Formation(
                self._token,
                self._generation,
                self.world_size,
                self._nodes,
                self._addresses,
                _DEADLINE_SECONDS,
                split=in_turn,
            )
            layout = Layout.of([np.empty(max(size, _LEAST_BYTES) // 4 + 1, np.float32)])
            group = self._group = Group(formation, self.rank, layout, listener=self._listener)
        return group


def _array(tensor: Any) -> np.ndarray:
    """The one array that Ray hands over, by itself or in a list."""
    array = tensor[0] if isinstance(tensor, list) else tensor
    if not isinstance(array, np.ndarray):
        raise TypeError(f"the RETAPE backend takes NumPy arrays, not {type(array).__name__}")
    return array


def _unwrapped(tensor_list: Any) -> list[np.ndarray]:
    """A list of arrays, which Ray may hand over in a list of its own."""
    return tensor_list[0] if isinstance(tensor_list[0], list) else tensor_list


def _key(group_name: str, what: str, rank: int) -> str:
    return f"retape-{group_name}-{what}-{rank}"


def _meet(group_name: str, world: int, rank: int, place: Any) -> tuple[str, list[Any]]:
    """The group's token and every rank's place.

    Rank 0 writes a roster of whom it has seen; each rank agrees to one that holds its own nonce, and all go once rank 0 has
    seen every agreement. What an earlier group of this name left in the store holds other nonces, and nobody agrees to it.
    """
    nonce, token, until = secrets.token_hex(8), secrets.token_hex(32), time.monotonic() + _DEADLINE_SECONDS
    _write(_key(group_name, "hello", rank), (nonce, place))
    while time.monotonic() < until:
        if rank == 0:
            hellos = [_read(_key(group_name, "hello", other)) for other in range(world)]
            if all(hellos):
                _write(_key(group_name, "roster", 0), (token, hellos))
                _write(_key(group_name, "agreed", 0), token)
                if all(_read(_key(group_name, "agreed", other)) == token for other in range(world)):
                    return token, [place for _, place in hellos]
        else:
            roster = _read(_key(group_name, "roster", 0))
            if roster and roster[1][rank][0] == nonce:
                _write(_key(group_name, "agreed", rank), roster[0])
                return roster[0], [place for _, place in roster[1]]
        time.sleep(0.01)
    missing = [other for other in range(world) if not _read(_key(group_name, "hello", other))]
    raise DeadlineError(f"rank {rank} of group {group_name!r} waited {_DEADLINE_SECONDS:g} s for ranks {missing} to come")


def _write(key: str, value: Any) -> None:
    internal_kv._internal_kv_put(key, pickle.dumps(value), overwrite=True)


def _read(key: str) -> Any:
    # Ray's own store, which only this cluster's processes write to.
    value = internal_kv._internal_kv_get(key)
    return None if value is None else pickle.loads(value)
