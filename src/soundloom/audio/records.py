"""Read and extend records, which describe how a clip was generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from soundloom.errors import RequestError
from soundloom.prompts import plain_text
from soundloom.version import __version__

# Terms of the IPTC vocabulary of digital source types, http://cv.iptc.org/newscodes/digitalsourcetype/
TRAINED = "trainedAlgorithmicMedia"  # created using generative AI
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"  # edited using generative AI, such as by inpainting
MIX = "compositeSynthetic"  # composite including generative AI elements
FACTS_OF_PART = ("mode", "trim", "model", "model_hash", "license", "seed")
WHOLE_CLIP_FACTS = ("loop",)  # no longer true of a part of the clip


def recorded_prompt(record: Mapping[str, Any]) -> str:
    """Return the prompt of a record, from its top level or its request; "" if it has none."""
    request = record.get("request")
    prompt = record.get("prompt") or (request.get("prompt") if isinstance(request, Mapping) else None)
    return prompt if isinstance(prompt, str) else ""


def recorded_title(record: Mapping[str, Any]) -> str:
    """Return the prompts of a record without their weights; "" if it has none."""
    prompts = [recorded_prompt(record)]
    request = record.get("request")
    if isinstance(request, Mapping) and isinstance(second := request.get("prompt_b"), str):
        mix = request.get("mix")
        prompts = [second] if mix == 1 else prompts if mix == 0 else [*prompts, second]
    return " / ".join(plain_text(prompt) for prompt in prompts)


def with_warnings(record: Mapping[str, Any], warnings: Iterable[str]) -> dict[str, Any]:
    """Return a record with more warnings; an empty record stays empty."""
    added = list(warnings)
    return {**record, "warnings": [*record.get("warnings", []), *added]} if record and added else dict(record)


def digital_source_type(record: Mapping[str, Any]) -> str | None:
    """Return the IPTC term for the origin of a clip, or None if no model generated or edited it.

    An edit is a composite unless its source was generated completely. Decoded latents have none: they may be those of
    a recording.
    """
    parts = record.get("parts")
    if isinstance(parts, list):
        terms = [part.get("digital_source_type") if isinstance(part, Mapping) else None for part in parts]
        if not any(terms):
            return None
        return TRAINED if all(term == TRAINED for term in terms) else MIX
    if not record.get("model") or record.get("mode") == "decode":
        return None
    source = record.get("source")
    if not isinstance(source, Mapping):
        return TRAINED
    is_generated = source.get("mode") == "generate" or source.get("digital_source_type") == TRAINED
    return TRAINED if is_generated else COMPOSITE


def trimmed_record(record: Mapping[str, Any], start: float, stop: float) -> dict[str, Any]:
    """Return the record of a part of a clip, from `start` to `stop` in seconds.

    The request still describes the whole clip; `trim` is the part of it. Facts that only held for the whole are gone.
    """
    kept = {name: value for name, value in record.items() if name not in WHOLE_CLIP_FACTS}
    offset = _start_of_trim(record)
    return {"soundloom": __version__, **kept, "mode": "trim", "trim": [offset + start, offset + stop]}


def _start_of_trim(record: Mapping[str, Any]) -> float:
    """Return where a clip that is a part itself begins; parts of parts count from the start of the whole clip."""
    match record:
        case {"mode": "trim", "trim": [int() | float() as start, _]}:
            return float(start)
    return 0.0


def joined_record(parts: Iterable[tuple[Mapping[str, Any], float]]) -> dict[str, Any]:
    """Return the record of clips, each a record and a length in seconds, played one after the other.

    It lists the parts and their origin; clips without records make one without.
    """
    listed = [part for record, seconds in parts for part in _parts(record, seconds)]
    if not any("mode" in part for part in listed):
        return {}
    return {"soundloom": __version__, "mode": "join", "parts": listed}


def _parts(record: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Return the parts of a clip that was joined before, or the clip as one part."""
    if record.get("mode") == "join" and isinstance(record.get("parts"), list):
        return list(record["parts"])
    found: dict[str, Any] = {"seconds": seconds}
    found |= {name: record[name] for name in FACTS_OF_PART if record.get(name) is not None}
    if prompt := recorded_prompt(record):
        found["prompt"] = prompt
    if term := digital_source_type(record):
        found["digital_source_type"] = term
    return [found]


def with_finish(record: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record that also says how the clip was finished; an empty record stays empty."""
    if not record:
        return {}
    before = record.get("finish")
    return {**record, "finish": {**(before if isinstance(before, Mapping) else {}), **settings}}


def loop_samples(record: Mapping[str, Any], rate: int) -> int | None:
    """Return the length in samples of a loop with a tempo and whole beats; None if the record has none."""
    loop = record.get("loop")
    bpm, beats = (loop.get("bpm"), loop.get("beats")) if isinstance(loop, Mapping) else (None, None)
    if not isinstance(bpm, int | float) or not isinstance(beats, int | float) or not bpm > 0:
        return None
    return round(beats * 60 / bpm * rate)


def require_no_loop(record: Mapping[str, Any], why: str) -> None:
    """Raise RequestError if the record is that of a loop; `why` says what would break it."""
    if record.get("loop"):
        raise RequestError(f"the clip is a loop, and {why}", "finish clips that do not loop")
