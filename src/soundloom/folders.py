"""Locate the folders for caches, configuration and data."""

import os
import sys
from pathlib import Path

from soundloom.errors import RequestError, shown


def cache_folder() -> Path:
    """Return the folder for files that can be recreated; SOUNDLOOM_CACHE overrides the platform's default."""
    return _place("SOUNDLOOM_CACHE", "LOCALAPPDATA", "Library/Caches", "XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """Return the folder for user settings; SOUNDLOOM_CONFIG overrides the platform's default."""
    return _place("SOUNDLOOM_CONFIG", "APPDATA", "Library/Application Support", "XDG_CONFIG_HOME", ".config")


def data_folder() -> Path:
    """Return the folder for files that users keep; SOUNDLOOM_DATA overrides the platform's default."""
    return _place("SOUNDLOOM_DATA", "LOCALAPPDATA", "Library/Application Support", "XDG_DATA_HOME", ".local/share")


def loras_folder() -> Path:
    """Return the folder whose adapters can be named; SOUNDLOOM_LORAS overrides `loras` in the data folder."""
    chosen = os.environ.get("SOUNDLOOM_LORAS")
    return expanded(chosen) if chosen else data_folder() / "loras"


def output_folder() -> Path:
    """Return where a server shows finished clips; SOUNDLOOM_OUTPUT overrides `soundloom` in the user's music folder."""
    chosen = os.environ.get("SOUNDLOOM_OUTPUT")
    return expanded(chosen) if chosen else _music_folder() / "soundloom"


def _music_folder() -> Path:
    """Return the user's folder for music: on Linux the one of XDG user directories, else `Music`."""
    usual = _home() / "Music"
    if sys.platform in ("win32", "darwin"):
        return usual
    if chosen := os.environ.get("XDG_MUSIC_DIR"):
        return Path(chosen)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config")
    try:
        lines = (config / "user-dirs.dirs").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return usual
    values = [line.partition("=")[2].strip().strip('"') for line in lines if line.startswith("XDG_MUSIC_DIR=")]
    found = Path(values[-1].replace("$HOME", str(_home()), 1)) if values else usual
    return found if found.is_absolute() and found != _home() else usual  # the home folder itself means "none"


def expanded(path: str | Path) -> Path:
    """Expand `~` in a path that a user typed. Raises RequestError when the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RequestError(f"the home folder in {shown(str(path))} is unknown", "write the full path") from error


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        hint = "set HOME, or SOUNDLOOM_CACHE and SOUNDLOOM_CONFIG"
        raise RequestError("this account has no home folder", hint) from error


def _place(variable: str, windows: str, mac: str, xdg: str, usual: str) -> Path:
    """Return the folder in `variable`, or the platform's default; `mac` and `usual` are relative to the home folder."""
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or _home()) / "soundloom"
    if sys.platform == "darwin":
        return _home() / mac / "soundloom"
    return Path(os.environ.get(xdg) or _home() / usual) / "soundloom"
