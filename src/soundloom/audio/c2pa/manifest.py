"""Describe a clip as a C2PA manifest: who made it, what was done, and from which file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soundloom.audio.disclosure import source_type_uri
from soundloom.errors import RequestError, shown
from soundloom.version import __version__

GENERATOR = {"name": "soundloom", "version": __version__}
ACTIONS, METADATA = "c2pa.actions.v2", "c2pa.metadata"
IPTC = {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"}
IPTC_SOURCE_TYPE = "Iptc4xmpExt:DigitalSourceType"
CREATED, OPENED, EDITED, TRIMMED, UNKNOWN = (
    f"c2pa.{action}" for action in ("created", "opened", "edited", "trimmed", "unknown")
)
PARENT = "parent"  # the label of the ingredient that was edited


@dataclass(frozen=True)
class Parent:
    """The audio that was edited: a title, and how much of its origin is known."""

    title: str
    note: str = ""

    def definition(self) -> dict[str, Any]:
        """Return the ingredient of the manifest."""
        note = {"description": self.note} if self.note else {}
        return {"title": self.title, "relationship": "parentOf", "label": PARENT, "instance_id": PARENT} | note


def recorded_parent(record: Mapping[str, Any], name: str) -> Parent | None:
    """Return what is known of the audio that was edited where its file is not: its name and hash.

    `name` is the file that a clip was loaded from, or "".
    """
    if name:
        return Parent(name)
    source = record.get("source")
    if not isinstance(source, Mapping):
        return None
    sha256 = source.get("sha256")
    note = f"sha256 of rate, channels and float32 samples: {shown(sha256)}" if isinstance(sha256, str) else ""
    return Parent(shown(source.get("name") or "audio in memory"), note)


def actions(
    record: Mapping[str, Any], *, has_parent: bool, is_loaded: bool, action: str | None
) -> list[dict[str, Any]]:
    """Return the actions that a record describes, or `action` instead of the last one.

    Raises RequestError for audio that soundloom did not generate or change.
    """
    kind = source_type_uri(record)
    model = record.get("model")
    made = {"softwareAgent": GENERATOR} | ({"description": f"model {shown(model)}"} if model else {})
    typed = made | ({"digitalSourceType": kind} if kind else {})
    if has_parent:
        opened = {"action": OPENED, "parameters": {"ingredientIds": [PARENT]}}
        last = action or (UNKNOWN if is_loaded else EDITED)
        return [opened, {"action": last, **(typed if last == EDITED else {"softwareAgent": GENERATOR})}]
    if kind is None:
        raise RequestError(
            "a C2PA manifest would have nothing to state: soundloom did not generate or edit this clip",
            "save it without --c2pa, or name the file that it was made from as the source",
        )
    trimmed = [{"action": TRIMMED, "softwareAgent": GENERATOR}] if record.get("mode") == "trim" else []
    return [{"action": CREATED, **typed}, *trimmed]


@dataclass(frozen=True)
class Manifest:
    """What a manifest states: the name of the file, the actions, and the URI of the digital source type, if any."""

    title: str
    actions: list[dict[str, Any]]
    source_type: str | None

    def definition(self, parent: Parent | None = None) -> dict[str, Any]:
        """Return the manifest for the library; `parent` is an ingredient without a file."""
        assertions = [{"label": ACTIONS, "data": {"actions": self.actions}}]
        if self.source_type and not any("digitalSourceType" in action for action in self.actions):
            # Such as a trimmed clip: the action says nothing about the origin of the audio.
            assertions.append({"label": METADATA, "data": {"@context": IPTC, IPTC_SOURCE_TYPE: self.source_type}})
        found = {"claim_generator_info": [GENERATOR], "title": self.title, "assertions": assertions}
        return found | ({"ingredients": [parent.definition()]} if parent else {})
