"""Text to 44.1 kHz stereo sound, and sound edited with words, on your own machine."""

from soundloom.version import __version__

__all__ = ["__version__"]
