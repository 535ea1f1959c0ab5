"""Distances between two sets of embeddings: pure functions of arrays, in float64."""
