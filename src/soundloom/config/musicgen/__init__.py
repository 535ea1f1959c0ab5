"""Configuration of the MusicGen family: architecture, catalogue and requests."""
