"""Prints or writes the page of what is covered: ``python -m retape.runtime.coverage --write docs/coverage.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .page import page
from .table import entries, load_forms

# Beside the floors, in a checkout.
TESTS = Path(__file__).parents[2] / "tests"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m retape.runtime.coverage", description="What of NumPy is differentiated.")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the page into this file instead of printing it")
    parser.add_argument("--tests", metavar="FOLDER", type=Path, default=TESTS, help="the tests, whose forms the page lists")
    chosen = parser.parse_args()
    if not (chosen.tests / "forms").is_dir():
        parser.error(f"{chosen.tests} holds no folder 'forms': name the tests of a checkout with --tests")
    text = page(entries(load_forms(chosen.tests)))
    if chosen.write is None:
        print(text, end="")
    else:
        chosen.write.parent.mkdir(parents=True, exist_ok=True)
        chosen.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
