"""Read the user's settings: the file `settings.toml` in the folder for configuration, and environment variables.

[provenance]
c2pa = true                  # sign every file that a command saves
cert = "~/keys/chain.pem"    # SOUNDLOOM_C2PA_CERT overrides it
key = "~/keys/key.pem"       # SOUNDLOOM_C2PA_KEY
trust = "~/keys/roots.pem"   # SOUNDLOOM_C2PA_TRUST
disclosure = false           # leave out the tags that say that a model made the audio
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.errors import ConfigError, printable, shown
from soundloom.folders import config_folder, expanded
from soundloom.untrusted.limits import read_limited

FILE = "settings.toml"
TABLE = "provenance"
MAX_BYTES = 2**20
SWITCHES, FILES = ("c2pa", "disclosure"), ("cert", "key", "trust")
KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(SWITCHES, (bool, "true or false")),
    **dict.fromkeys(FILES, (str, "the path of a file, in quotes")),
}


@dataclass(frozen=True)
class ProvenanceSettings:
    """What saved files state about their origin: `c2pa` and `disclosure` are defaults of the command line.

    `cert` and `key` sign manifests, `trust` has the roots of certificates to trust: PEM files.
    """

    c2pa: bool = False
    disclosure: bool = True
    cert: Path | None = None
    key: Path | None = None
    trust: Path | None = None


def provenance_settings() -> ProvenanceSettings:
    """Return the settings of provenance. Raises ConfigError for an invalid file."""
    path = config_folder() / FILE
    table = _table(path)
    for name, value in table.items():
        if name not in KINDS:
            raise ConfigError(f"{printable(path)} has an unknown setting {shown(name)}", f"use {', '.join(KINDS)}")
        kind, wanted = KINDS[name]
        if not isinstance(value, kind):
            raise ConfigError(f"{printable(path)}: {name} must be {wanted}, found {shown(value)}")
    given = [os.environ.get(f"SOUNDLOOM_C2PA_{name.upper()}") or table.get(name) for name in FILES]
    cert, key, trust = (expanded(file) if file else None for file in given)
    return ProvenanceSettings(table.get("c2pa", False), table.get("disclosure", True), cert, key, trust)


def _table(path: Path) -> dict[str, Any]:
    """Return the table of provenance in a file; it is empty if there is no file."""
    try:
        settings = tomllib.loads(read_limited(path, MAX_BYTES).decode())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{printable(path)} cannot be read as TOML: {shown(str(error))}") from error
    table = settings.pop(TABLE, {})
    if settings or not isinstance(table, dict):
        raise ConfigError(f"{printable(path)} must have one table, [{TABLE}], and nothing else")
    return table
