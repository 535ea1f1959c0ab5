"""What an edit takes over from the record of its source, and what its own record says of that source."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, shown

log = logging.getLogger(__name__)
SETTINGS = ("negative_prompt", "steps", "sampler", "guidance", "shift")


def remembered(source: Clip, model: str) -> dict[str, Any]:
    """Return the prompt of a request without one, and the settings where `source` was made by the same model.

    They come from the source's record; without one the prompt is empty. What is taken over is logged.
    """
    recorded = recorded_request(source.record)
    if recorded is None or not recorded.prompt:
        return {"prompt": ""}
    log.warning("no prompt was given; taking the one of the source: %s", shown(recorded.prompt))
    taken: dict[str, Any] = {"prompt": recorded.prompt}
    if source.record.get("model") == model:
        settings = {name: getattr(recorded, name) for name in SETTINGS}
        taken |= {name: value for name, value in settings.items() if value is not None}
    return taken


def recorded_model(source: Clip) -> str | None:
    """Return the model that made `source`, where it is one of the catalogue that can edit; say so where it is taken."""
    entry = find_entry(str(source.record.get("model", "")))
    if entry is None or entry.kind != "generator" or not entry.public:
        return None
    if not entry.is_packaged:
        log.warning("no model was given; taking the one that made the source: %s", entry.name)
    return entry.name


def recorded_request(record: Mapping[str, Any]) -> GenerationRequest | None:
    """The request in a record as far as it describes sound, or None where there is none that can be read."""
    request = record.get("request")
    if not isinstance(request, Mapping):
        return None
    try:
        return GenerationRequest.from_record({name: request[name] for name in ("prompt", *SETTINGS) if name in request})
    except (RequestError, TypeError, AttributeError):
        return None


def source_record(source: Clip) -> dict[str, Any]:
    """What a record says of the sound that was edited: its hash, and its name, prompt, seed and model where known."""
    known: dict[str, Any] = {"name": source.name, "sha256": source.sha256()}
    request = source.record.get("request")
    known |= {"prompt": request.get("prompt")} if isinstance(request, Mapping) else {}
    known |= {name: source.record.get(name) for name in ("mode", "model", "seed")}
    return {name: value for name, value in known.items() if value not in (None, "")}
