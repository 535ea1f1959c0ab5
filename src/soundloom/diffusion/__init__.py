"""Samplers, schedules, guidance, noise and masks, written once for torch, MLX and NumPy arrays."""
