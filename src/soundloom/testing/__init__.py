"""Checkpoints with random weights in every published layout, for tests and benchmarks."""
