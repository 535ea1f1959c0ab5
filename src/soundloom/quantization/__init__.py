"""Weights in 4 or 8 bits: the arithmetic, which layers take how many, and what it costs."""
