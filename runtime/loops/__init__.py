"""Loops of equal steps: run as they stand, or on a trail with states held here and there and steps run again."""
