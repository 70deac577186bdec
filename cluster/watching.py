"""Makes the printed status of a run, once or again and again, from the words after ``retape-train status``."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.live import Live
from rich.text import Text

from .arguments import positive
from .status import RunStatus, read_status

_WATCH_SECONDS = 2.0


def show_status(argv: Sequence[str]) -> int:
    """Prints the status that ``argv`` asks for, and returns the exit status 0.

    Raises ``ConfigError`` where there is no run.
    """
    parser = argparse.ArgumentParser(
        prog="retape-train status",
        description="Tells how a run is doing, or how it ended, from the files in its folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder", nargs="?", default="runs", help="a run's output folder, or one of runs, of which the newest (default: runs)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object, on one line")
    parser.add_argument(
        "--watch",
        nargs="?",
        const=_WATCH_SECONDS,
        type=positive,
        metavar="SECONDS",
        help=f"print it again every so many seconds (default: {_WATCH_SECONDS:g}) until the run is over",
    )
    options = parser.parse_args(argv)
    console = Console(soft_wrap=True, highlight=False)

    def text(status: RunStatus) -> str:
        return json.dumps(asdict(status)) if options.json else str(status)

    status = read_status(options.folder)
    if options.watch is None or not console.is_terminal:
        print(text(status), flush=True)
        while options.watch is not None and not status.is_over:
            time.sleep(options.watch)
            status = read_status(options.folder)
            print(text(status), flush=True)
        return 0
    with Live(Text(text(status)), console=console, auto_refresh=False) as live:
        while not status.is_over:
            time.sleep(options.watch)
            status = read_status(options.folder)
            live.update(Text(text(status)), refresh=True)
    return 0
