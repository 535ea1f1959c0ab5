"""Embedders of sound, and where their weights come from."""
