"""Embedders of other packages, which run in a Python environment of their own. See `external`.

Each file has a function `open_embedder` and imports nothing of soundloom. They are written from the packages' published
sources, and were not run with published weights.
"""
