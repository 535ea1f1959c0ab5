"""Spectral losses."""
