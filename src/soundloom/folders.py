"""Where soundloom keeps files of its own."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be made again lies; SOUNDLOOM_CACHE overrides the platform's usual place."""
    return _place("SOUNDLOOM_CACHE", "LOCALAPPDATA", "Library/Caches", "XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """Where the user's settings of soundloom lie; SOUNDLOOM_CONFIG overrides the platform's usual place."""
    return _place("SOUNDLOOM_CONFIG", "APPDATA", "Library/Application Support", "XDG_CONFIG_HOME", ".config")


def _place(variable: str, windows: str, mac: str, xdg: str, usual: str) -> Path:
    """The folder that a variable names, else soundloom's where the platform has such; `mac` and `usual` from home."""
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get(windows, Path.home())) / "soundloom"
    if sys.platform == "darwin":
        return Path.home() / mac / "soundloom"
    return Path(os.environ.get(xdg) or Path.home() / usual) / "soundloom"
