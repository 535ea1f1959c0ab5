"""Index where adapters were last seen by their hash, so that the record of a clip finds them again.

The index is `adapters.json` in the cache folder: `{"<sha256>": {"name": "…", "path": "…"}}`, oldest first. It is only a
help: errors on reading or writing it are ignored, and hashes are checked again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from soundloom.atomic import locked_folder, make_folder, write_json
from soundloom.errors import SoundloomError
from soundloom.folders import cache_folder
from soundloom.lora.adapter import Adapter
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json
from soundloom.untrusted.limits import read_limited

log = logging.getLogger(__name__)

INDEX_FILE = "adapters.json"
_MAX_ENTRIES = 2000


def index_adapter(adapter: Adapter) -> None:
    """Index the path of an adapter by its hash."""
    if adapter.path is None or not adapter.sha256:
        return
    entry = {"name": adapter.name, "path": str(adapter.path.absolute())}
    try:
        file = cache_folder() / INDEX_FILE
        if _read(file).get(adapter.sha256) == entry:
            return
        make_folder(file.parent)
        with locked_folder(file.parent):  # against other processes
            table = {key: value for key, value in _read(file).items() if key != adapter.sha256}
            write_json(file, {**dict(list(table.items())[1 - _MAX_ENTRIES :]), adapter.sha256: entry})
    except (SoundloomError, OSError) as error:
        log.debug("the path of adapter %s was not indexed: %s", adapter.name, error)


def indexed_path(sha256: str) -> Path | None:
    """Return where an adapter was last seen, if it is still there."""
    try:
        entry = _read(cache_folder() / INDEX_FILE).get(sha256)
        path = Path(entry["path"]) if isinstance(entry, dict) and isinstance(entry.get("path"), str) else None
        return path if path is not None and path.exists() else None
    except (SoundloomError, OSError, ValueError):
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        table = decode_json(read_limited(file, MAX_RECORD_BYTES), MAX_RECORD_BYTES)
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
