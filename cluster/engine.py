"""Makes Ray actors from a worker class: starts Ray on this machine when no cluster is given, and ends what it
started."""

import os
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import ClusterSizeError

_START_SECONDS = 120.0
_OBJECT_STORE_BYTES = 80 * 2**20


def import_ray() -> Any:
    """The ray module, quiet and without usage statistics."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


@contextmanager
def cluster(address: str | None, *, cpus: int, payload_bytes: int, oversubscribe: bool = False) -> Iterator[Any]:
    """Connects to the cluster at ``address``, or starts Ray on this machine, and yields the ray module.

    A Ray that the caller has initialised already is used, and left running. ``payload_bytes`` is what will be
    put into the object store. With ``oversubscribe`` a Ray started here pretends to have ``cpus`` CPUs.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    folder = None
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if address in (None, "local"):
            if any(letter.isspace() for letter in sys.executable):
                raise ClusterSizeError(
                    f"Ray cannot start workers with a Python whose path has a blank in it ({sys.executable}): call it "
                    "through a link without one, as make does, or move the virtual environment"
                )
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
            folder = _temporary_folder()
            ray.init(
                address="local",
                num_cpus=max(_cores(), cpus) if oversubscribe else _cores(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES + 2 * payload_bytes,
                _temp_dir=folder,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def placement(ray: Any, workers: int, *, threads: int) -> Iterator[Any]:
    """Holds ``threads`` CPUs for each of ``workers`` workers, all on one node, and gives them back after.

    Raises ``ClusterSizeError`` when no node has that many CPUs, or they stay busy for two minutes.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    check_size(ray, workers, threads)
    group = placement_group([{"CPU": threads}] * workers, strategy="STRICT_PACK")
    try:
        if not group.wait(_START_SECONDS):
            free = ray.available_resources().get("CPU", 0)
            raise ClusterSizeError(
                f"{workers} workers of {threads} CPU each could not be placed on one node within "
                f"{_START_SECONDS:g} s; {free:g} CPUs of the cluster are free now: wait for other jobs to "
                "end, or ask "
                "for fewer workers"
            )
        yield group
    finally:
        remove_placement_group(group)


def spawn(
    ray: Any, group: Any, worker_class: type, arguments: list[tuple[Any, ...]], *, threads: int, local: bool
) -> list[Any]:
    """One actor of ``worker_class`` for each tuple of arguments, on the CPUs of ``group``.

    Each has ``threads`` BLAS threads. With ``local``, the workers look for modules where this process does.
    """
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if local:
        variables["PYTHONPATH"] = _module_path()
    remote_class = ray.remote(num_cpus=threads, max_restarts=0, max_concurrency=3, runtime_env={"env_vars": variables})(
        worker_class
    )
    return [
        remote_class.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote(*values)
        for index, values in enumerate(arguments)
    ]


def check_size(ray: Any, workers: int, threads: int) -> None:
    """Raises ``ClusterSizeError`` when no node of the cluster has the CPUs for all workers."""
    sizes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    largest = max(sizes, default=0)
    if workers * threads > largest:
        raise ClusterSizeError(
            f"{workers} workers of {threads} CPU each need {workers * threads} CPUs on one node; the "
            "cluster has "
            f"{len(sizes)} node{'s' if len(sizes) != 1 else ''}, the largest with {largest:g} CPUs: use "
            f"{max(1, int(largest // threads))} worker{'s' if largest // threads > 1 else ''} or fewer, or "
            "on one "
            "machine let workers share CPUs with oversubscribe (--oversubscribe)"
        )


def release(ray: Any, actors: list[Any], process_ids: list[int], *, seconds: float = 5.0) -> None:
    """Kills the actors and waits until their processes on this machine are gone."""
    for actor in actors:
        ray.kill(actor, no_restart=True)
    deadline = time.monotonic() + seconds
    while any(map(_alive, process_ids)) and time.monotonic() < deadline:
        time.sleep(0.02)


def payload_size(value: Any) -> int:
    """The bytes that ``value`` takes in the object store. Raises ``TypeError`` when it cannot be pickled."""
    from ray import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    head = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)  # pyright: ignore[reportPrivateImportUsage]
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _temporary_folder() -> str | None:
    # Ray puts sockets below it, and their paths are limited to 107 bytes.
    folder = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="retape-", dir=folder) if len(folder) < 30 else None


def _module_path() -> str:
    """Where this process looks for modules beyond the installation: workers on the same machine look there
    too."""
    installed = (sys.prefix, sys.base_prefix)
    folders = [os.path.abspath(folder) for folder in sys.path]
    return os.pathsep.join(f for f in folders if os.path.isdir(f) and not f.startswith(installed))


def _alive(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
