"""Loops of equal steps: what users call, and how a loop runs inside a budget, with states on disk where that pays."""
