"""Quantize models to 4 or 8 bits: which layers get how many bits, and how far results change."""
