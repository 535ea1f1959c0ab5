"""gary's routes that make sound."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from typing import Any

from fastapi import APIRouter, Request

from soundloom.config.prompt_facts import prompt_bpm
from soundloom.config.stable_audio.rhythm import bar_seconds
from soundloom.serving.dialects.fields import Fields
from soundloom.serving.dialects.gary.sessions import Sessions, Work
from soundloom.serving.dialects.run import MAX_SEED, read_json
from soundloom.serving.http.owners import server_of
from soundloom.serving.jobs.resolve import JobBody
from soundloom.serving.storage.rows import Artifact
from soundloom.serving.uploads import store_bytes

MAX_BODY_BYTES = 96 * 2**20  # of JSON with audio in base64: 72 MiB of WAV
DEFAULT_SECONDS, DEFAULT_BARS, DEFAULT_TAIL, DEFAULT_CONTINUATION = 30.0, 8, 6.0, 8.0
BARS = ("4", "8", "16", "32")
STRENGTH = 0.9
MAX_SECONDS = 86_400.0
RATE = 44_100
SHIFTS = ("default", "none", "logsnr", "flux", "full")
GUIDANCE = {"cfg_scale": "scale", "apg_scale": "apg", "cfg_rescale": "rescale", "cfg_norm_threshold": "norm_threshold"}

router = APIRouter()


@router.post("/generate")
async def generate(request: Request) -> dict[str, Any]:
    """Generate a clip."""
    fields, record, loras = await _read(request)
    samples = fields.whole("target_samples", 1, 10**10)
    named = fields.number("duration", 0.01, MAX_SECONDS)
    also = fields.number("seconds", 0.01, MAX_SECONDS)  # some clients send both
    duration = named if named is not None else also if also is not None else DEFAULT_SECONDS
    seconds = samples / RATE if samples else duration
    fields.check()
    session = await _submit(request, fields, JobBody("generate", record | {"seconds": seconds}, loras=loras))
    return session | _lengths(seconds, record) | {"prompt": record["prompt"], "duration": seconds}


@router.post("/generate/loop")
async def loop(request: Request) -> dict[str, Any]:
    """Generate a loop of whole bars, which repeats without a break."""
    fields, record, loras = await _read(request)
    bpm = fields.number("bpm", 20, 400) or prompt_bpm(record["prompt"])
    bars = fields.whole("bars", 4, 32) or DEFAULT_BARS
    if str(bars) not in BARS:
        fields.fault("bars", f"must be one of {', '.join(BARS)}, found {bars}")
    if bpm is None and not fields.faults:
        fields.fault("bpm", "is required, here or in the prompt")
    fields.get("target_samples")
    fields.check()
    assert bpm is not None
    record |= {"bars": bars, "bpm": bpm, "loop": True}
    seconds = bar_seconds(bars, bpm, "4/4")
    session = await _submit(request, fields, JobBody("generate", record, loras=loras))
    return session | {
        **_lengths(seconds, record),
        "bpm": bpm,
        "bars": bars,
        "seconds_per_bar": seconds / bars,
        "loop_duration": seconds,
    }


@router.post("/transform")
async def transform(request: Request) -> dict[str, Any]:
    """Vary a clip, which keeps its length."""
    fields, record, loras = await _read(request)
    strength = fields.number("strength")
    strength = min(1.0, max(0.01, STRENGTH if strength is None else strength))
    fields.drop("duration", "seconds")
    artifact = await _source(request, fields)
    body = JobBody("vary", record | {"noise": strength}, source=artifact.hash, loras=loras)
    session = await _submit(request, fields, body, "transform", artifact)
    return session | {
        "strength": strength,
        "input_duration": artifact.seconds,
        "input_sr": artifact.rate,
        "input_channels": artifact.channels,
        "target_samples": artifact.samples,
    }


@router.post("/continue")
async def continue_(request: Request) -> dict[str, Any]:
    """Continue a clip, whose samples stay as they are."""
    fields, record, loras = await _read(request)
    added = fields.number("continuation_seconds", 0.1, MAX_SECONDS) or DEFAULT_CONTINUATION
    mode = fields.choice("continuation_mode", ("inpaint", "latent_prefix"), "inpaint")
    if mode != "inpaint":
        fields.drop("continuation_mode")
    fields.drop("duration", "seconds")
    artifact = await _source(request, fields)
    total = artifact.seconds + added
    body = JobBody("extend", record | {"seconds": total}, source=artifact.hash, loras=loras)
    session = await _submit(request, fields, body, "transform", artifact)
    return session | {
        **_lengths(total, record, artifact.rate),
        "continuation_mode": mode,
        "source_duration": artifact.seconds,
        "continuation_seconds": added,
        "total_duration": total,
        "mask_start_seconds": artifact.seconds,
        "mask_end_seconds": total,
    }


@router.get("/poll_status/{id}")
async def poll(id: str, request: Request, consume: str = "") -> dict[str, Any]:
    """Return how far a job is, and its audio at the end; `consume=1` forgets it then."""
    return await _sessions(request).poll(id, consume=consume.lower() in ("1", "true", "yes"))


def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.sessions
    return found


async def _read(request: Request) -> tuple[Fields, dict[str, Any], tuple[dict[str, Any], ...]]:
    """Return the fields of a body, the request that all routes share, and the adapters. Faults stay in the fields."""
    fields = Fields(await read_json(request, MAX_BODY_BYTES))
    for name in ("init_path", "audio_path", "source_path"):
        if fields.get(name) is not None:
            fields.fault(name, "no path of this machine is read; send audio_data, a WAV file in base64")
    record: dict[str, Any] = {"prompt": fields.text("prompt")}
    if negative := fields.text("negative_prompt"):
        record["negative_prompt"] = negative
    if (steps := fields.whole("steps", 1, 10_000)) is not None:
        record["steps"] = steps
    if sampler := fields.text("sampler_type", longest=40):
        record["sampler"] = sampler
    seed = fields.whole("seed", -1, 2**63 - 1)
    record["seed"] = 1 + secrets.randbelow(MAX_SEED) if seed is None or seed < 0 else seed
    if (shift := _shift(fields)) != "default":
        record["shift"] = {"type": shift}
    if guidance := _guidance(fields):
        record["guidance"] = guidance
    tails = [fields.number(name, 0, 60) for name in ("duration_padding_sec", "tail_pad_seconds")]
    if (tail := next((one for one in tails if one is not None), None)) is not None:
        record["duration_padding"] = tail
    return fields, record, _loras(fields)


def _shift(fields: Fields) -> str:
    """Return the name of a schedule shift; its parameters are not honored."""
    named = "shift" if fields.get("shift") is not None else "dist_shift"
    fields.drop("dist_shift_params")
    return fields.choice(named, SHIFTS, "default")


def _guidance(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {
        ours: value for theirs, ours in GUIDANCE.items() if (value := fields.number(theirs, -100, 1000)) is not None
    }
    low, high = (fields.number(f"cfg_interval_{end}", 0, 1) for end in ("min", "max"))
    if low is not None or high is not None:
        found["interval"] = [0.0 if low is None else low, 1.0 if high is None else high]
    return found


def _loras(fields: Fields) -> tuple[dict[str, Any], ...]:
    """Return the adapters as jobs name them."""
    given = fields.get("loras")
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given) or len(given) > 16:
        fields.fault("loras", "must be a list of at most 16 objects with a name")
        return ()
    found = []
    for one in given:
        lora = Fields(one)
        use: dict[str, Any] = {"name": lora.text("name", required=True, longest=200)}
        if (strength := lora.number("strength", -10, 10)) is not None:
            use["strength"] = strength
        low, high = lora.number("interval_min", 0, 1), lora.number("interval_max", 0, 1)
        if low is not None or high is not None:
            use["sigma"] = [0.0 if low is None else low, 1.0 if high is None else high]
        fields.dropped += [f"loras.{name}" for name, value in one.items() if name in lora.ignored and value]
        fields.faults += [(f"loras.{name}", reason) for name, reason in lora.faults]
        found.append(use)
    return tuple(found)


async def _source(request: Request, fields: Fields) -> Artifact:
    """Return the audio of a body as an artifact. Raises FieldsError, AudioError or RequestError."""
    text = fields.text("audio_data", required=True, longest=MAX_BODY_BYTES)
    fields.check()
    _, _, data = text.rpartition(",") if text.startswith("data:") else ("", "", text)
    try:
        audio = await asyncio.to_thread(base64.b64decode, data, validate=True)
    except (binascii.Error, ValueError):
        fields.fault("audio_data", "is no valid base64")
        fields.check()
        raise
    return await store_bytes(server_of(request), audio, "gary.wav")


async def _submit(
    request: Request, fields: Fields, body: JobBody, work: Work = "generate", source: Artifact | None = None
) -> dict[str, Any]:
    """Submit a job; return what all answers have."""
    server, ignored = server_of(request), fields.ignored
    meta = {"prompt": body.request["prompt"], "model": server.settings.model, "ignored": ignored}
    named = JobBody(body.kind, body.request, server.settings.model, body.source, loras=body.loras)
    # Python's `wave` reads no float; 24 bits keep the samples of most sources.
    subtype = "PCM_24" if source is not None and source.subtype != "PCM_16" else "PCM_16"
    session = await _sessions(request).submit(named, request.state.client, work, meta, subtype)
    return {"success": True, "session_id": session.id, "seed": session.meta["seed"], "ignored": ignored}


def _lengths(seconds: float, record: dict[str, Any], rate: int = RATE) -> dict[str, Any]:
    tail = record.get("duration_padding", DEFAULT_TAIL)
    return {"tail_pad": tail, "gen_duration": seconds + tail, "target_samples": round(seconds * rate)}
