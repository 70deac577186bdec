"""Prints how far retape agrees with the field, by tests, samples and probes: `make conformance`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import hips_suite
import probe_table
import tables
import torch_samples

_PARTS = ("hips", "torch", "probes", "random")


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=_PARTS, action="append", help="one part; may be repeated")
    parser.add_argument(
        "--forward", action="store_true", help="forward mode in every test of the suite, also where it asks for none"
    )
    parser.add_argument("--reverse", action="store_true", help="reverse mode alone in the suite")
    parser.add_argument("--match", default="", help="only the samples and probes whose name holds this")
    parser.add_argument("--no-peers", action="store_true", help="the probes on retape alone")
    parser.add_argument(
        "--random", type=int, default=300, metavar="COUNT", help="how many random programs of views and writes"
    )
    parser.add_argument("--seed", type=int, default=0, help="which random programs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()

    parts = options.only or _PARTS
    start = time.perf_counter()
    figures = {}
    if "hips" in parts:
        modes = "both" if options.forward else "reverse" if options.reverse else "suite"
        figures["hips"] = hips_suite.table(modes, print, tables.table)
    if "torch" in parts:
        figures["torch"] = torch_samples.table(options.match, print, tables.table)
    if "probes" in parts:
        figures["probes"] = probe_table.table(options.match, not options.no_peers, print, tables.table)
    if "random" in parts:
        figures["random"] = probe_table.random_table(options.random, options.seed, print, tables.table)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))
    tables.say(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
