"""find adapters by name, and index where they were."""

from __future__ import annotations

from pathlib import Path

from soundloom.errors import ModelNotFoundError, shown
from soundloom.lora.adapter import Adapter

_SEEN: dict[str, Path] = {}


def find_adapter(name: str, folder: Path | None = None) -> Path:
    """Return the path of an adapter. Raises ModelNotFoundError."""
    path = Path(name)
    if not path.exists():
        raise ModelNotFoundError(f"there is no adapter {shown(name)}")
    return path


def index_adapter(adapter: Adapter) -> None:
    """Index the path of an adapter by its hash."""
    if adapter.path is not None:
        _SEEN[adapter.sha256] = adapter.path


def locate_adapter(name: str, sha256: str, folder: Path | None = None) -> Path:
    """Return the path of an adapter with this hash. Raises ModelNotFoundError."""
    if sha256 not in _SEEN:
        raise ModelNotFoundError(f"the adapter {shown(name)} is not known on this machine")
    return _SEEN[sha256]
