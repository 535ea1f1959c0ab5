"""Where soundloom keeps files of its own."""

import os
import sys
from pathlib import Path

from soundloom.errors import RequestError, shown


def cache_folder() -> Path:
    """Where what can be made again lies; SOUNDLOOM_CACHE overrides the platform's usual place."""
    return _place("SOUNDLOOM_CACHE", "LOCALAPPDATA", "Library/Caches", "XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """Where the user's settings of soundloom lie; SOUNDLOOM_CONFIG overrides the platform's usual place."""
    return _place("SOUNDLOOM_CONFIG", "APPDATA", "Library/Application Support", "XDG_CONFIG_HOME", ".config")


def expanded(path: str | Path) -> Path:
    """A path that a person gave, with `~` as the home folder. Raises RequestError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{shown(str(path))} begins with a home folder that is not known", "write it out") from error


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        hint = "set HOME, or SOUNDLOOM_CACHE and SOUNDLOOM_CONFIG to folders"
        raise RequestError("this account has no home folder", hint) from error


def _place(variable: str, windows: str, mac: str, xdg: str, usual: str) -> Path:
    """The folder that a variable names, else soundloom's where the platform has such; `mac` and `usual` from home."""
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or _home()) / "soundloom"
    if sys.platform == "darwin":
        return _home() / mac / "soundloom"
    return Path(os.environ.get(xdg) or _home() / usual) / "soundloom"
