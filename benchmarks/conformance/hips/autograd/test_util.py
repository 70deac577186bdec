"""The suite's own checker; CONFORMANCE_MODES (as ``fwd,rev``) overrules the modes that a test pins."""

import os
from typing import Any

from .borrowed import borrow

borrow("test_util", globals())

if os.environ.get("CONFORMANCE_MODES"):
    _modes = os.environ["CONFORMANCE_MODES"].split(",")
    _as_written = globals()["check_grads"]

    def check_grads(f: Any, argnum: Any = 0, modes: Any = None, order: int = 2, **keywords: Any) -> Any:
        """Check in the modes of this run, whatever the test says."""
        return _as_written(f, keywords.get("argnum", argnum), modes=_modes, order=order)
