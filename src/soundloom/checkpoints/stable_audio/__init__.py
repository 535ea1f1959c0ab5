"""Checkpoints of the Stable Audio family: layouts, tensor names and shapes, opening, saving, converting."""
