"""The Plan: what is computed when, kept, dropped and recomputed; pure arithmetic on bytes and costs."""
