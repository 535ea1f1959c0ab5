"""The audio routes of OpenAI and vLLM-Omni: `/v1/audio/generate` and `/v1/audio/speech`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from soundloom.serving.dialects.errors import Problem, sentence
from soundloom.serving.dialects.fields import Fields
from soundloom.serving.dialects.run import MEDIA_TYPES, answer_headers, encoded, finish, model_named, read_json, start
from soundloom.serving.http.owners import server_of
from soundloom.serving.jobs.resolve import JobBody

PREFIX = "/v1/audio"
ALIASES = ("gpt-4o-mini-tts", "tts-1")  # names of models that mean the server's own
FORMATS = ("wav", "mp3", "flac", "pcm", "opus")
MAX_SPEECH = 4096  # characters
TYPES = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    429: "RateLimitError",
}

router = APIRouter(prefix=PREFIX, include_in_schema=False)


def rewrite(found: Problem) -> tuple[int, dict[str, Any]]:
    """Return an error as OpenAI's clients read it."""
    status = 400 if found["status"] == 422 else found["status"]
    default = "BadRequestError" if status < 500 else "InternalServerError"
    errors = found.get("errors", ())
    param = errors[0]["field"] if errors else "model" if found["type"] == "model-not-found-error" else None
    error = {"message": sentence(found), "type": TYPES.get(status, default), "param": param, "code": status}
    return status, {"error": error}


@router.post("/generate")
async def generate(request: Request) -> Response:
    """Generate audio from text, as vLLM-Omni does."""
    fields = Fields(await read_json(request))
    return await _answer(request, fields, fields.text("input", required=True), "wav")


@router.post("/speech")
async def speech(request: Request) -> Response:
    """Generate audio from text; no model here speaks, so `voice` is ignored.

    vLLM-Omni's client for Stable Audio sends the fields of `/v1/audio/generate` here.
    """
    fields = Fields(await read_json(request))
    parts = [fields.text("input", required=True, longest=MAX_SPEECH), fields.text("instructions", longest=MAX_SPEECH)]
    fields.drop("voice")
    return await _answer(request, fields, ", ".join(part for part in parts if part), "mp3")


async def _answer(request: Request, fields: Fields, prompt: str, default: str) -> Response:
    server, client = server_of(request), request.state.client
    record = {"prompt": prompt, **_record(fields)}
    format = fields.choice("response_format", FORMATS, default)
    fields.choice("stream_format", ("audio",), "audio")
    _require_only(fields, "speed", 1.0)
    model = model_named(server, fields.text("model", longest=200), ALIASES)
    fields.check()
    key = request.headers.get("idempotency-key")
    started = await start(server, [JobBody("generate", record, model)], client, key)
    take = await finish(server, started, client, None if key else request)
    headers = answer_headers(fields) | {"soundloom-seed": str(take.record.get("seed", ""))}
    return Response(await encoded(server, take, format), headers=headers, media_type=MEDIA_TYPES[format])


def _record(fields: Fields) -> dict[str, Any]:
    """Return the options of a request, those of vLLM-Omni and our own `seconds`."""
    record: dict[str, Any] = {}
    _require_only(fields, "audio_start", 0.0)
    lengths = [fields.number(name, 0.01, 86_400) for name in ("audio_length", "seconds")]
    if seconds := next(filter(None, lengths), None):
        record["seconds"] = seconds
    if negative := fields.text("negative_prompt"):
        record["negative_prompt"] = negative
    if (scale := fields.number("guidance_scale", 0, 100)) is not None:
        record["guidance"] = {"scale": scale}
    if (steps := fields.whole("num_inference_steps", 1, 10_000)) is not None:
        record["steps"] = steps
    if (seed := fields.whole("seed", -1, 2**63 - 1)) is not None and seed >= 0:
        record["seed"] = seed
    return record


def _require_only(fields: Fields, name: str, allowed: float) -> None:
    """Collect a fault if a field has another value than the only one that is honored."""
    value = fields.number(name)
    if value is not None and value != allowed:
        fields.fault(name, f"must be {allowed:g}; no other value is supported")
