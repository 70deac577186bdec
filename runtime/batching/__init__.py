"""Batching: a function of one example is run once on a whole batch of them, op by op."""
