"""Prints the benchmarks, one table each, with peers side by side where they are installed: `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import all_reduce
import cells
import certificate
import curve
import in_place
import jacobian
import kills
import loops
import models
import overhead
import overlap
import pictures
import planning
import recovery
import scaling
import snapshots
import supervised
import tables

_TABLES = {
    "overhead": overhead.table,
    "curve": curve.table,
    "models": models.table,
    "in-place": in_place.table,
    "jacobian": jacobian.table,
    "loops": loops.table,
    "planning": planning.table,
    "certificate": certificate.table,
    "all-reduce": all_reduce.table,
    "overlap": overlap.table,
    "recovery": recovery.table,
    "kills": kills.table,
    "scaling": scaling.table,
    "supervised": supervised.table,
    "snapshots": snapshots.table,
}
# A quarter of an hour of faults is run when asked for.
_ON_REQUEST = ("kills",)


def main() -> None:
    """Read the options, print the machine and the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=_TABLES, action="append", help="one benchmark; may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller programs and fewer rounds: under two minutes")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write figures as JSON and a picture as PNG")
    options = parser.parse_args()

    present = [peer for peer in cells.PEERS if cells.installed(peer)]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", *present))
    tables.say(f"{platform.machine()}, {os.cpu_count()} cores, one used")
    tables.say(f"Python {platform.python_version()}, {libraries}")
    for peer in cells.PEERS:
        if peer not in present:
            tables.say(f"{cells.PEERS[peer]} is not installed: its rows are left out (pip install {peer})")
    start = time.perf_counter()
    chosen = options.only or [name for name in _TABLES if name not in _ON_REQUEST]
    figures = {name: _TABLES[name](quick=options.quick) for name in chosen}
    if options.out:
        for path in pictures.save(options.out, figures):
            tables.say(f"wrote {path}")
    tables.say(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
