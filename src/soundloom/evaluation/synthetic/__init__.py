"""Evaluate models on the synthetic dataset, whose labels are exact."""
