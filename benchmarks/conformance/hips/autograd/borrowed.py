"""Reads a module of the downloaded suite: what judges retape, or only shuffles arguments, is as its authors wrote it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def borrow(name: str, namespace: dict[str, Any]) -> None:
    """Run the suite's ``autograd/<name>.py`` in the namespace of the shim's module of that name."""
    path = Path(os.environ["CONFORMANCE_SUITE"], "autograd", f"{name}.py")
    exec(compile(path.read_text(), str(path), "exec"), namespace)
