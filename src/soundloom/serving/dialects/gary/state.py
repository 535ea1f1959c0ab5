"""gary's routes about the server and its model.

Clients take a `/health` with the status "ok", an `encoding` and `loaded` for another server, to which they send paths
of files instead of audio; so it never has these keys.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.lora.files.find import list_adapters
from soundloom.serving.http.owners import server_of
from soundloom.serving.server import Server

LOAD_SECONDS, LOOK_SECONDS = 120.0, 0.1  # a model that failed to load does not appear
PROMPTS = {  # which every model knows, also `mini`
    "generic": ["rain", "a plucked string, A minor", "a siren", "a bell", "noise, left"],
    "drums": ["kick drum loop, 129 BPM", "hip hop drum loop, 92 BPM", "hi-hat loop, 144 BPM"],
}
router = APIRouter()


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Describe the server, without loading anything."""
    server = server_of(request)
    device = server.dispatcher.devices[0]
    where = device.loaded.device or device.settings.device or "cpu"
    config = server.dispatcher.model(server.settings.model).config
    return {
        "status": "healthy",
        "service": "soundloom",
        "model": server.settings.model,
        "model_loaded": _is_loaded(server),
        "model_loading": _is_loading(server),
        "model_error": next((one.held for one in server.dispatcher.devices if one.held), None),
        "last_load_seconds": round(device.loaded.seconds, 3) if _is_loaded(server) else None,
        "loras": _loras(),
        "device": where,
        "cuda_available": where.startswith("cuda"),
        "sample_rate": config.sample_rate,
        "channels": 2 if isinstance(config, MusicGenConfig) else config.audio_channels,
    }


@router.get("/ready")
async def ready(request: Request) -> Response:
    """Answer 200 if a worker can take a job; the job loads the model."""
    server = server_of(request)
    if not server.not_ready:
        return JSONResponse({"ready": True, "model": server.settings.model})
    held = next((one.held for one in server.dispatcher.devices if one.held), None)
    return JSONResponse({"ready": False, "loading": held is None, "error": held}, 503, {"Retry-After": "2"})


@router.post("/load")
async def load(request: Request) -> Response:
    """Load the model, and wait for it."""
    server, start = server_of(request), time.monotonic()
    was_loaded = _is_loaded(server)
    await server.models.load(server.settings.model)
    while not _is_loaded(server) and time.monotonic() - start < LOAD_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
    if not _is_loaded(server):
        return JSONResponse({"success": False, "error": "loading model — warming up"}, 503, {"Retry-After": "2"})
    found = await health(request)
    return JSONResponse(
        {
            "success": True,
            "status": "already_loaded" if was_loaded else "loaded",
            "load_seconds": 0.0 if was_loaded else found["last_load_seconds"],
            "sample_rate": found["sample_rate"],
            "device": found["device"],
        }
    )


@router.post("/unload")
async def unload(request: Request) -> Response:
    """Free the model, unless it is busy."""
    server = server_of(request)
    if any(device.run is not None for device in server.dispatcher.devices) or server.dispatcher.queue:
        return JSONResponse({"success": False, "error": "the model is busy"}, 409)
    await server.models.unload(server.settings.model)
    return JSONResponse({"success": True, "status": "unloaded"})


@router.get("/loras")
async def loras(request: Request) -> dict[str, Any]:
    """List the adapters."""
    return {"loras": _loras(), "default_lora": None, "model_loaded": _is_loaded(server_of(request))}


@router.get("/prompts")
async def prompts(lora: str = "") -> dict[str, Any]:
    """Return prompts to choose from; adapters have none of their own."""
    names = [name.strip() for name in lora.split(",") if name.strip()]
    return {
        "success": True,
        "loras": [],
        "missing_loras": names,
        "available_loras": [],
        "prompts": {"version": 1, "dice": PROMPTS, "source": {}},
    }


def _is_loaded(server: Server) -> bool:
    return any(device.loaded.model == server.settings.model for device in server.dispatcher.devices)


def _is_loading(server: Server) -> bool:
    devices = server.dispatcher.devices
    return any(device.wanted for device in devices) or (bool(server.dispatcher.queue) and not _is_loaded(server))


def _loras() -> list[dict[str, Any]]:
    return [{"index": index, "name": name} for index, name in enumerate(sorted(list_adapters()))]
