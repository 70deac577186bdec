"""Makes Ray actors from a worker class: starts Ray on this machine when no cluster is given, and ends what it
started."""

import json
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..scheduler.memory import keep_freed_memory
from .errors import ClusterSizeError, ConfigError, RunError
from .scratch import scratch_folder

_START_SECONDS = 120.0
_ANSWER_SECONDS = 15.0
_OBJECT_STORE_BYTES = 80 * 2**20


def import_ray() -> Any:
    """The ray module, quiet and without usage statistics."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


def find_cluster(address: str | None) -> str | None:
    """``address``, else RAY_ADDRESS, else "auto" where ``ray up`` made this machine a cluster's head and runs, else none."""
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None and Path("~/ray_bootstrap_config.yaml").expanduser().exists() and _is_up():
        return "auto"
    return address


@contextmanager
def cluster(address: str | None, *, cpus: int, payload_bytes: int, oversubscribe: bool = False) -> Iterator[Any]:
    """Connects to the cluster at ``address``, or starts Ray on this machine, and yields the ray module.

    A Ray that the caller has initialised already is used, and left running. ``payload_bytes`` is what will be
    put into the object store. With ``oversubscribe`` a Ray started here pretends to have ``cpus`` CPUs. To the workers of a
    cluster this process's own retape is sent, so that all run the same code.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    folders = ExitStack()  # Ray's own goes after Ray
    try:
        if address in (None, "local"):
            if any(letter.isspace() for letter in sys.executable):
                raise ClusterSizeError(
                    f"Ray cannot start workers with a Python whose path has a blank in it ({sys.executable}): call it "
                    "through a link without one, as make does, or move the virtual environment"
                )
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
            # Ray puts sockets below it, and their paths are limited to 107 bytes.
            is_short = len(tempfile.gettempdir()) < 30
            folder = str(folders.enter_context(scratch_folder())) if is_short else None
            start(
                ray,
                num_cpus=max(_cores(), cpus) if oversubscribe else _cores(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES + 2 * payload_bytes,
                _temp_dir=folder,
                **quiet,
            )
        else:
            with scratch_folder("code-") as place:
                join(ray, address, runtime_env=own_code(place), **quiet)
        yield ray
    finally:
        ray.shutdown()
        folders.close()


def join(ray: Any, address: str, **options: Any) -> None:
    """Connects to the cluster at ``address``.

    Raises ``RunError`` where none answers, and ``ConfigError`` for what is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and "/" not in host and port.isdigit():
            _knock(host.strip("[]"), int(port))  # Ray itself would try for two minutes
        ray.init(address=address, **options)
    except ValueError as error:
        raise ConfigError(
            f"{address!r} is no address of a Ray cluster ({error}): give its head's host and port, such as 10.0.0.7:6379"
        ) from error
    except ConnectionError as error:
        raise RunError(
            f"no Ray cluster answers at {address} ({error}): start one (ray start --head, or ray up), or leave the address "
            "out to start Ray on this machine"
        ) from error


def start(ray: Any, **options: Any) -> None:
    """Starts Ray on this machine, and tries once more where it does not come up in time: a machine that is busy may be late.

    Raises ``RunError`` after the second time.
    """
    for attempt in (1, 2):
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:  # Ray has no class of its own for it
            ray.shutdown()
            if attempt == 2:
                raise RunError(
                    f"Ray did not start on this machine, twice ({error}): see that it has free memory and time, or "
                    "start Ray yourself (ray start --head) and name its address (--address)"
                ) from error


@contextmanager
def placement(ray: Any, workers: int, *, threads: int) -> Iterator[Any]:
    """Holds ``threads`` CPUs for each of ``workers`` workers, on as few nodes as possible, and gives them back after.

    Raises ``ClusterSizeError`` when the cluster does not have that many CPUs, or they stay busy for two minutes.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    check_size(ray, workers, threads)
    group = placement_group([{"CPU": threads}] * workers, strategy="PACK")
    try:
        if not group.wait(_START_SECONDS):
            free = ray.available_resources().get("CPU", 0)
            raise ClusterSizeError(
                f"{workers} workers of {threads} CPU each could not be placed within {_START_SECONDS:g} s; {free:g} CPUs of "
                "the cluster are free now: wait for other jobs to end, or ask for fewer workers"
            )
        yield group
    finally:
        remove_placement_group(group)


def spawn(group: Any, worker_class: type, *values: Any, threads: int, local: bool) -> Any:
    """An actor of ``worker_class``, on CPUs that the placement group ``group`` holds, or without one on any that are free.

    It has ``threads`` BLAS threads. With ``local``, it looks for modules where this process does. Where a node is lost, Ray
    moves its part of the group to another one that has room, or waits until there is one; the actor comes there.
    """
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    place = "DEFAULT" if group is None else PlacementGroupSchedulingStrategy(group)
    options = {"num_cpus": threads, "max_restarts": 0, "max_concurrency": 4, "scheduling_strategy": place}
    return _actor_class(worker_class).options(**options, runtime_env=_environment(threads, local)).remote(*values)


def spawn_beside(node: str, helper_class: type, *, local: bool) -> Any:
    """An actor of ``helper_class`` on ``node``, beside its workers: it takes none of the CPUs, and is restarted there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node, soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": place}
    return _actor_class(helper_class).options(**options, runtime_env=_environment(1, local)).remote()


@cache
def _actor_class(plain: type) -> Any:
    """Ray's class for ``plain``, made once: Ray disassembles all the code of one that it has not seen, which takes long."""
    return import_ray().remote(plain)


def _environment(threads: int, local: bool) -> dict[str, Any]:
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    # A method runs in a thread, and glibc's heaps of threads are of 64 MiB each, unmapped and mapped again as they empty and
    # fill: one heap for all threads grows as large as it has to, and memory settings mean all of it.
    variables["MALLOC_ARENA_MAX"] = "1"
    return {"env_vars": variables | ({"PYTHONPATH": _module_path()} if local else {})}


def whereabouts() -> tuple[str, str]:
    """The node that this process is on, and its address on the cluster's network."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return "", "127.0.0.1"
    return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()


def make_own(*, has_budget: bool) -> None:
    """Makes this process a worker's where it is a Ray actor's; called while the actor is made.

    SIGTERM ends it at once: Ray's own handler lets calls in progress end first, and a worker's is the run. Without a memory
    budget, freed memory stays for the next step. In a thread of somebody else's actor, such as Ray Train's, both are that
    one's affair.
    """
    ray = sys.modules.get("ray")
    is_ours = threading.current_thread() is threading.main_thread()
    if is_ours and ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not has_budget:
            keep_freed_memory()


def check_size(ray: Any, workers: int, threads: int) -> None:
    """Raises ``ClusterSizeError`` when the cluster's nodes together cannot have that many workers."""
    fitting = room(ray, threads)
    if workers > fitting:
        sizes = _sizes(ray)
        raise ClusterSizeError(
            f"{workers} workers of {threads} CPU each need {workers * threads} CPUs; the cluster has {len(sizes)} "
            f"node{'s' if len(sizes) != 1 else ''}, the largest with {max(sizes, default=0):g} CPUs, and room for {fitting} "
            f"such worker{'s' if fitting != 1 else ''}: use {f'{fitting} or fewer' if fitting else 'fewer threads'}, or on "
            "one machine let workers share CPUs with oversubscribe (--oversubscribe)"
        )


def room(ray: Any, threads: int) -> int:
    """How many workers of so many ``threads`` the cluster's nodes can have."""
    return sum(int(size // threads) for size in _sizes(ray))


def _sizes(ray: Any) -> list[float]:
    return [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]


def payload_size(value: Any) -> int:
    """The bytes that ``value`` takes in the object store. Raises ``TypeError`` when it cannot be pickled."""
    from ray import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    head = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)  # pyright: ignore[reportPrivateImportUsage]
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def own_code(place: Path) -> dict[str, Any]:
    """The runtime environment that ships the retape of this process, from a copy of its code under ``place``."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    if "py_modules" in (job.get("runtime_env") or {}):
        return {}  # whoever submitted the job sends modules, and Ray takes one list only

    def others(folder: str, names: list[str]) -> list[str]:
        # A checkout holds more than the package: runs, environments, builds.
        return [name for name in names if not (name.endswith(".py") or Path(folder, name, "__init__.py").is_file())]

    package = Path(__file__).resolve().parent.parent
    shutil.copytree(package, place / "retape", ignore=others)
    return {"py_modules": [str(place / "retape")]}


def _knock(host: str, port: int) -> None:
    """Raises ``ConnectionError`` when nothing listens there."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _is_up() -> bool:
    """Whether the Ray that was started last on this machine answers."""
    try:
        place = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text(encoding="ascii")
        host, port = place.strip().rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=2.0).close()
    except (OSError, ValueError):
        return False
    return True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _module_path() -> str:
    """Where this process looks for modules beyond the installation: workers on the same machine look there
    too."""
    installed = (sys.prefix, sys.base_prefix)
    folders = [os.path.abspath(folder) for folder in sys.path]
    return os.pathsep.join(f for f in folders if os.path.isdir(f) and not f.startswith(installed))
