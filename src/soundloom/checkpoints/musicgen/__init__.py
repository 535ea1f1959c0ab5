"""Checkpoints of MusicGen and Instruct-MusicGen: layouts, tensor names and shapes, opening and saving."""
