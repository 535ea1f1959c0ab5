"""Weights on disk: formats, names, strict comparison and downloads. Nothing here knows an engine."""
