"""Autoregressive generation of tokens: delay pattern, sampling and the loop; independent of the engine."""
