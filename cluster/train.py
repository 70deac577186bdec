"""Starts a training run from a shell: ``python cluster/train.py``, or ``retape-train`` once installed."""

import sys
from collections.abc import Sequence
from importlib import import_module
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


if __name__ == "__main__":
    # Python puts a script's folder first on the path, where the neighbours of this file would pass for
    # top-level modules.
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    sys.exit(main())
