"""Schedules of loops: which states of n equal steps are held, and in which runs the steps are reversed."""
