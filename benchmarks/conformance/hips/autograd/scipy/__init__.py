"""SciPy's rooms as retape offers them; what it does not offer is SciPy's own, which sees the traced arrays."""

import importlib
import sys
from types import ModuleType
from typing import Any

from .convolution import convolve as _convolve


class _Room(ModuleType):
    """``autograd.scipy.<room>``."""

    def __init__(self, room: str) -> None:
        super().__init__(f"{__name__}.{room}")
        self._plain = importlib.import_module(f"scipy.{room}")
        try:
            self._offered: Any = importlib.import_module(f"retape.scipy.{room}")
        except ModuleNotFoundError:
            self._offered = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._offered, name) if hasattr(self._offered, name) else getattr(self._plain, name)


for _name in ("integrate", "linalg", "signal", "special", "stats"):
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _Room(_name)
globals()["signal"].convolve = _convolve
sys.modules[f"{__name__}.stats.multivariate_normal"] = globals()["stats"].multivariate_normal
