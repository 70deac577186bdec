"""Starts a training run from a shell: ``python cluster/train.py``, or ``retape-train`` once installed."""

import atexit
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the training command with ``argv`` (default: the process's) and returns its exit status."""
    try:
        # By its full name, for a script has no package to import from.
        command = import_module("retape.cluster.command")
    except ImportError as error:
        print(
            f"retape-train: {error}. Install the package first, in the folder that has pyproject.toml: "
            "pip install -e '.[cluster]'",
            file=sys.stderr,
        )
        return 1
    return command.main(argv)


def _use_own_package(folder: Path) -> None:
    """Makes the checkout around ``folder`` importable as retape, in the place of another one that is installed.

    A copy of this file that stands alone, as ``ray submit`` makes one, takes whatever retape is on the path.
    """
    root = folder.parent
    if not (folder / "__init__.py").is_file() or not (root / "__init__.py").is_file():
        return
    # Python puts a script's folder first on the path, where the neighbours of this file would pass for
    # top-level modules.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != folder]
    found = find_spec("retape")
    if found is not None and found.origin is not None and Path(found.origin).resolve().parent == root:
        return
    # A link, for a checkout may have any name; on the path, for workers on this machine look where this process does.
    spec = spec_from_file_location("scratch", folder / "scratch.py")
    assert spec is not None and spec.loader is not None
    scratch = module_from_spec(spec)
    spec.loader.exec_module(scratch)
    links = scratch.scratch_folder("code-")
    place = links.__enter__()
    atexit.register(links.__exit__, None, None, None)
    os.symlink(root, place / "retape")
    sys.path.insert(0, str(place))


if __name__ == "__main__":
    _use_own_package(Path(__file__).resolve().parent)
    sys.exit(main())
