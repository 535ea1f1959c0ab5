"""MusicGen on PyTorch."""
