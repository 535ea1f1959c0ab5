"""Synthesis of the sounds in the synthetic dataset, with NumPy alone."""
