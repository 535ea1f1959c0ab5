"""Stable Audio on MLX."""
