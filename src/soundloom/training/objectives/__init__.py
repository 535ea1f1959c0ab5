"""Losses, and the auxiliary modules that are trained beside a model."""
