"""The folder of files that soundloom made itself and can make again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be made again lies; SOUNDLOOM_CACHE overrides the platform's usual place."""
    if chosen := os.environ.get("SOUNDLOOM_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "soundloom"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "soundloom"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "soundloom"
