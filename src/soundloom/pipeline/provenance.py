"""Read the record of an edit's source for defaults, and describe the source in the record of the edit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.records import digital_source_type, recorded_prompt
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, shown

log = logging.getLogger(__name__)
PROMPTS = ("prompt", "prompt_b", "mix")
SETTINGS = ("negative_prompt", "steps", "sampler", "guidance", "shift")


def recorded_settings(source: Clip, model: str) -> dict[str, Any]:
    """Return the prompts in the record of `source`, and the settings if `model` generated it.

    Without a record the prompt is empty. Logs a prompt that it finds.
    """
    recorded = _recorded_request(source.record)
    if recorded is None or not (recorded.prompt or recorded.prompt_b):
        return {"prompt": ""}
    used = recorded.prompt if recorded.prompt_b is None else f"{recorded.prompt} / {recorded.prompt_b}"
    log.warning("no prompt was given; using the prompt of the source: %s", shown(used))
    found: dict[str, Any] = {name: value for name in PROMPTS if (value := getattr(recorded, name)) is not None}
    if source.record.get("model") == model:
        settings = {name: getattr(recorded, name) for name in SETTINGS}
        found |= {name: value for name, value in settings.items() if value is not None}
    return found


def recorded_model(source: Clip) -> str | None:
    """Return the model that generated `source` if the catalogue has it and it can edit, and log it."""
    entry = find_entry(str(source.record.get("model", "")))
    if entry is None or entry.kind != "generator" or not entry.public:
        return None
    if not entry.is_packaged:
        log.warning("no model was given; using the model of the source: %s", entry.name)
    return entry.name


def _recorded_request(record: Mapping[str, Any]) -> GenerationRequest | None:
    """Return the prompt and settings in a record as a request, or None if they cannot be read."""
    request = record.get("request")
    if not isinstance(request, Mapping):
        return None
    try:
        return GenerationRequest.from_record({name: request[name] for name in (*PROMPTS, *SETTINGS) if name in request})
    except (RequestError, TypeError, AttributeError):
        return None


def source_record(source: Clip) -> dict[str, Any]:
    """Describe the source of an edit: its hash, and its name, prompt, seed, model, origin and `snap_tempo` if known."""
    known: dict[str, Any] = {"name": source.name, "sha256": source.sha256()}
    known |= {"prompt": recorded_prompt(source.record)}
    known |= {name: source.record.get(name) for name in ("mode", "model", "seed", "snap_tempo")}
    known |= {"digital_source_type": digital_source_type(source.record)}
    return {name: value for name, value in known.items() if value not in (None, "")}
