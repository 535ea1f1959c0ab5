"""Facts about the adapters in the server's folder, read once for each state of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundloom.errors import SoundloomError
from soundloom.lora.files.find import list_adapters
from soundloom.lora.files.read import read_adapter
from soundloom.lora.guardrails import canonical_model, check_settings, fitting_models

State = tuple[tuple[str, int, int], ...]


@dataclass
class AdapterFacts:
    """Describes adapters; what was read is kept until a file changes."""

    _known: dict[Path, tuple[State, dict[str, Any]]] = field(default_factory=dict)

    def all(self) -> list[dict[str, Any]]:
        """Return the facts about each adapter; those about a damaged file have only `error`."""
        return [{"name": name, **self._facts(path)} for name, path in list_adapters().items()]

    def _facts(self, path: Path) -> dict[str, Any]:
        state = _state(path)
        known = self._known.get(path)
        if known is None or known[0] != state:
            known = self._known[path] = state, _read(path)
        return known[1]


def _state(path: Path) -> State:
    """Return names, sizes and times of a file, or of the files in a folder, and of those beside it."""
    beside = path.parent.glob(f"{path.stem}.*") if path.is_file() else path.iterdir()
    found = [(one.name, one.stat()) for one in sorted(beside) if one.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def _read(path: Path) -> dict[str, Any]:
    try:
        adapter = read_adapter(path)
        named = canonical_model(adapter.config.get("base_model"))
        return {
            "sha256": adapter.sha256,
            "type": adapter.type,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "layers": len(adapter.modules),
            "fits": [named] if named else fitting_models(adapter),
            "trigger": adapter.hints.get("trigger"),
            "strength": adapter.hints.get("recommended_strength"),
            "notices": [*adapter.notices, *check_settings(adapter)],
        }
    except (SoundloomError, OSError) as error:
        return {"error": str(error.args[0] if isinstance(error, SoundloomError) else error)}
