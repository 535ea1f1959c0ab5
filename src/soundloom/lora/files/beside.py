"""Files beside an adapter: the JSON of converted adapters, and what services say about trigger words and strengths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundloom.untrusted.json import decode_json
from soundloom.untrusted.limits import read_limited

_MAX_BYTES = 1 << 20
_MAX_TRIGGER = 500  # characters; longer texts are descriptions or licenses
_TRIGGERS = ("trigger", "trigger_word", "trigger_words", "activation_text")
_STRENGTHS = ("recommended_strength", "recommended_weight", "preferred_weight", "strength")


def config_beside(path: Path) -> Mapping[str, Any] | None:
    """Return the configuration in `STEM.json` beside an adapter without one; None if there is none."""
    found = _json(path.with_suffix(".json"))
    return found if found and {"adapter_type", "rank", "alpha"} & found.keys() else None


def hints_beside(path: Path) -> dict[str, Any]:
    """Return `trigger` and `recommended_strength` from `STEM.metadata.json` or `STEM.trigger.txt`, where they exist."""
    found = _json(path.with_name(f"{path.stem}.metadata.json")) or {}
    hints = {
        "trigger": next((_trigger(found[key]) for key in _TRIGGERS if found.get(key)), None),
        "recommended_strength": next((_strength(found[key]) for key in _STRENGTHS if key in found), None),
    }
    text = _text(path.with_name(f"{path.stem}.trigger.txt"))
    if hints["trigger"] is None and text is not None:
        hints["trigger"] = _trigger(text.strip())
    return {key: value for key, value in hints.items() if value is not None}


def _trigger(value: Any) -> str | None:
    words = value if isinstance(value, list) else [value]
    text = ", ".join(word for word in words if isinstance(word, str))
    return text if 0 < len(text) <= _MAX_TRIGGER and text.isprintable() else None


def _strength(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _json(path: Path) -> Mapping[str, Any] | None:
    """Return the JSON object in a file; None without one. Other files of this name are common, so none is an error."""
    text = _text(path)
    try:
        found = None if text is None else decode_json(text)
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None


def _text(path: Path) -> str | None:
    try:
        return read_limited(path, _MAX_BYTES).decode("utf-8-sig") if path.is_file() else None
    except (OSError, ValueError):
        return None
