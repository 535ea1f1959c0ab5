"""MusicGen on MLX."""
