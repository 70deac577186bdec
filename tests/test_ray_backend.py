"""The backend of ray.util.collective, without PyTorch's part in it."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def member_class():
    """The actor's class, made here so that it travels by value."""

    class Member:
        def __init__(self, rank, world):
            from ray.util import collective

            from retape.cluster.comm.ray_backend import register

            register()
            register()
            collective.init_collective_group(world, rank, backend="RETAPE", group_name="sums")  # pyright: ignore[reportArgumentType]
            self.rank, self.world, self.collective = rank, world, collective

        def numbers(self, rank, dtype: Any = np.float32, size=1000):
            return np.random.default_rng(rank).standard_normal(size).astype(dtype)

        def all(self):
            """Everything that a group can do; the figures that a test looks at."""
            c, mine, found = self.collective, self.numbers(self.rank), {}
            for dtype in (np.float32, np.float64, np.float16):
                array = self.numbers(self.rank, dtype)
                c.allreduce(array, "sums")
                found[f"sum {np.dtype(dtype)}"] = array
            big = self.numbers(self.rank, size=300_000)
            c.allreduce(big, "sums")
            found["big"] = big
            for op in (c.types.ReduceOp.MIN, c.types.ReduceOp.MAX, c.types.ReduceOp.PRODUCT):
                array = mine.copy()
                c.allreduce(array, "sums", op)
                found[op.name] = array
            array = np.where(np.arange(1000) % 2, mine, -0.0).astype(np.float32)
            c.broadcast(array, 1, "sums")
            found["broadcast"] = array
            gathered = [np.empty(1000, np.float32) for _ in range(self.world)]
            c.allgather(gathered, mine, "sums")
            found["gathered"] = gathered
            part = np.empty(1000, np.float32)
            c.reducescatter(part, [mine * (1 + place) for place in range(self.world)], "sums")
            found["part"] = part
            array = mine.copy()
            c.reduce(array, 0, "sums")
            found["reduced"] = array
            buffer = c.get_group_handle("sums").buffer((1000,))
            buffer[...] = mine
            c.allreduce(buffer, "sums")
            found["buffer"] = buffer.copy()
            c.barrier("sums")
            return found

        def leave(self):
            self.collective.destroy_collective_group("sums")

    return Member


def test_collective_calls_on_numpy_arrays_go_in_rank_order(ray):
    world = 3
    members = [ray.remote(member_class()).options(num_cpus=0).remote(rank, world) for rank in range(world)]
    results = ray.get([member.all.remote() for member in members])
    ray.get([member.leave.remote() for member in members])
    for member in members:
        ray.kill(member)
    numbers = [np.random.default_rng(rank).standard_normal(1000) for rank in range(world)]
    single = [array.astype(np.float32) for array in numbers]
    for rank, found in enumerate(results):
        for dtype in (np.float32, np.float64, np.float16):
            a, b, c = (array.astype(dtype) for array in numbers)
            assert found[f"sum {np.dtype(dtype)}"].tobytes() == ((a + b) + c).tobytes()
        assert found["big"].tobytes() == results[0]["big"].tobytes()
        assert found["MIN"].tobytes() == np.minimum.reduce(single).tobytes()
        assert found["MAX"].tobytes() == np.maximum.reduce(single).tobytes()
        assert found["PRODUCT"].tobytes() == ((single[0] * single[1]) * single[2]).tobytes()
        assert found["broadcast"].tobytes() == np.where(np.arange(1000) % 2, single[1], np.float32(-0.0)).tobytes()
        assert [array.tobytes() for array in found["gathered"]] == [array.tobytes() for array in single]
        scaled = [array * np.float32(1 + rank) for array in single]
        assert found["part"].tobytes() == ((scaled[0] + scaled[1]) + scaled[2]).tobytes()
        whole = (single[0] + single[1]) + single[2]
        assert found["reduced"].tobytes() == (whole if rank == 0 else single[rank]).tobytes()
        assert found["buffer"].tobytes() == whole.tobytes()
