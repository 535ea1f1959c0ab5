"""The Stable Audio family: its architecture as dataclasses, and what a caller may ask of it."""
