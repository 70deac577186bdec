"""The modules that programs import by short names: retape.numpy, retape.random, retape.scipy and what is in that."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_TOP = __name__.split(".")[0] + "."
_HOMES = {"numpy": "ops.creation", "random": "random", "scipy": "scipy"}


class _Aliases(MetaPathFinder, Loader):
    """Finds, under a short name, the module that is there by its long one: one module, whatever it is called by."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        home = _home(fullname)
        if home is None or find_spec(home) is None:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        home = _home(spec.name)
        assert home is not None
        module = importlib.import_module(home)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def _home(name: str) -> str | None:
    if not name.startswith(_TOP):
        return None
    first, *rest = name[len(_TOP) :].split(".")
    return None if first not in _HOMES else ".".join([str(__package__), _HOMES[first], *rest])


def install() -> None:
    """Let the import system ask for short names first, once."""
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Aliases())
