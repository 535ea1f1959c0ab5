"""Describe the C2PA manifest of a file for `soundloom show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundloom.audio.c2pa.verify import has_manifest, verify
from soundloom.errors import RequestError


def manifest_facts(path: Path, trust: Path | None) -> dict[str, Any] | None:
    """Return what `verify` finds, or None for a file without a manifest.

    Where c2pa-python is missing, `valid` is None and the verdict says so.
    """
    if not has_manifest(path):
        return None
    try:
        from soundloom.audio.c2pa.library import load_library

        load_library()
    except RequestError as error:
        hint = error.hint.removeprefix("pip install ")
        return {"verdict": f"The file has a C2PA manifest, which is not verified: install {hint}.", "valid": None}
    found = verify(path, trust)
    return None if found is None else found.to_json()


def manifest_lines(facts: dict[str, Any]) -> list[str]:
    """Return the facts as lines of text."""
    lines = ["c2pa:", f"  {facts['verdict']}"]
    if facts["valid"] is None:
        return lines
    lines += [f"  {name}: {'yes' if facts[name] else 'no'}" for name in ("valid", "trusted", "tampered")]
    names = ("manifest", "signer", "organization", "serial", "generator", "digital_source_type")
    lines += [f"  {name.replace('_', ' ')}: {facts[name]}" for name in names if name in facts]
    for name in ("actions", "problems"):
        if facts[name]:
            lines.append(f"  {name}: {', '.join(facts[name])}")
    states = {None: "without a manifest", True: "with a valid manifest", False: "whose manifest is not valid"}
    return lines + [f"  made from: {one['title']}, {states[one['valid']]}" for one in facts["ingredients"]]
