"""The Tape: a straight-line program recorded from plain NumPy code, with a derivative rule for every op."""
