"""Measure takes: tempo, key, loudness and true peak, computed once."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter, Request
from pydantic import BaseModel

from soundloom.audio.streamed_clip import StreamedClip
from soundloom.serving.http.owners import own_take, server_of
from soundloom.serving.http.takes import audio_file, cached

router = APIRouter(prefix="/v1/takes", tags=["library"])


class MeasurementOut(BaseModel):
    """Measurements of a take; null is unsure, or silence. A confidence is the probability of the best estimate."""

    tempo: float | None
    tempo_confidence: float
    key: str | None
    key_confidence: float
    pitch: float | None
    pitch_confidence: float
    loudness: float | None
    true_peak: float | None
    onsets: list[float]
    sound_seconds: float


@router.get("/{take}/measure")
async def measure(take: str, request: Request) -> MeasurementOut:
    """Measure tempo (BPM), key, pitch (Hz), loudness (LUFS), true peak (dBTP) and onsets (seconds)."""
    server = server_of(request)
    path = await audio_file(server, await own_take(request, take))

    def made() -> bytes:
        clip = StreamedClip.open(path)
        return json.dumps(clip.measure().to_json()).encode()

    async with request.app.state.measuring:  # one at a time: takes of a job are asked for all at once
        data = await asyncio.to_thread(cached, server, f"{path.stem}.measure", made)
    return MeasurementOut.model_validate_json(data)
