"""Stable Audio on PyTorch."""
