"""ElevenLabs' sound effects: `/v1/sound-generation`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from soundloom.serving.dialects.errors import Problem, sentence
from soundloom.serving.dialects.fields import Fields, FieldsError
from soundloom.serving.dialects.run import (
    MEDIA_TYPES,
    OPUS_RATE,
    answer_headers,
    encoded,
    finish,
    model_named,
    read_json,
    start,
)
from soundloom.serving.http.owners import server_of
from soundloom.serving.jobs.resolve import JobBody

PATH = "/v1/sound-generation"
ALIASES = ("eleven_",)  # names of models that mean the server's own
RATES = {
    "mp3": (22_050, 24_000, 44_100, 48_000),
    "pcm": (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (OPUS_RATE,),
    "wav": (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}

router = APIRouter(include_in_schema=False)


def rewrite(found: Problem) -> tuple[int, dict[str, Any]]:
    """Return an error as ElevenLabs' clients read it."""
    return found["status"], {"detail": {"status": found["type"].replace("-", "_"), "message": sentence(found)}}


@router.post(PATH)
async def generate(request: Request, output_format: str = "mp3_44100_128") -> Response:
    """Generate a sound effect from text."""
    server, client = server_of(request), request.state.client
    format, rate, has_bitrate = _format(output_format)
    fields = Fields(await read_json(request))
    record: dict[str, Any] = {"prompt": fields.text("text", required=True)}
    if (seconds := fields.number("duration_seconds", 0.5, 86_400)) is not None:
        record["seconds"] = seconds
    if fields.flag("loop"):
        record["loop"] = True
    if (seed := fields.whole("seed", 0, 2**63 - 1)) is not None:
        record["seed"] = seed
    fields.number("prompt_influence", 0, 1)
    fields.drop("prompt_influence")
    model = model_named(server, fields.text("model_id", longest=200), ALIASES)
    fields.check()
    if has_bitrate:
        fields.dropped.append("output_format.bitrate")
    started = await start(server, [JobBody("generate", record, model)], client)
    take = await finish(server, started, client, request)
    data = await encoded(server, take, format, rate=rate)
    return Response(data, headers=answer_headers(fields), media_type=MEDIA_TYPES[format])


def _format(text: str) -> tuple[str, int, bool]:
    """Return codec and sample rate of a name such as mp3_44100_128, and whether it has a bit rate."""
    codec, *numbers = text.split("_")
    known = {str(rate) for rate in RATES.get(codec, ())}
    if not 1 <= len(numbers) <= 2 or numbers[0] not in known or not all(number.isdecimal() for number in numbers):
        raise FieldsError([("output_format", "must be such as mp3_44100_128, pcm_44100, opus_48000_128 or wav_44100")])
    return codec, int(numbers[0]), len(numbers) == 2
