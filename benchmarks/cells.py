"""Makes one measurement in a fresh process of one thread: a module's `cell`, from JSON to JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = {"autograd": "HIPS autograd", "torch": "PyTorch", "jax": "JAX"}

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}

# By default glibc keeps what PyTorch frees, so that its checkpoints would hardly show in the resident set.
# With the setting, every large block is mapped and faulted in anew, so it is for measuring memory, not time.
FAITHFUL_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "16384"}


def installed(peer: str) -> bool:
    """Whether a peer can be imported here, without importing it."""
    return importlib.util.find_spec(peer) is not None


def ask(module: str, spec: dict[str, Any], *, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what `cell(spec)` of `benchmarks/<module>.py` returns in a fresh process.

    Raises `RuntimeError` with its last words when it dies.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(f"{module}.py")), json.dumps(spec)],
        env={**os.environ, **ONE_THREAD, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {spec} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(cell: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Be the fresh process of `ask`: read the spec from the command line, print the result."""
    print(json.dumps(cell(json.loads(sys.argv[1]))))
