"""Read and extend records, which describe how a clip was generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def recorded_prompt(record: Mapping[str, Any]) -> str:
    """Return the prompt of a record, from its top level or its request; "" if it has none."""
    request = record.get("request")
    prompt = record.get("prompt") or (request.get("prompt") if isinstance(request, Mapping) else None)
    return prompt if isinstance(prompt, str) else ""


def with_warnings(record: Mapping[str, Any], warnings: Iterable[str]) -> dict[str, Any]:
    """Return a record with more warnings; an empty record stays empty."""
    added = list(warnings)
    return {**record, "warnings": [*record.get("warnings", []), *added]} if record and added else dict(record)
